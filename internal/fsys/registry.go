package fsys

// Default is the name of the file system that is used where none is named.
const Default = "default"

// Registry is the file systems that a document registers under names. It is not
// changed once it is made; nil is an empty one.
type Registry map[string]FS

// Find returns the file system with the name. An empty name is Default, which is
// that of the machine unless another one is registered as such.
func (r Registry) Find(name string) (FS, bool) {
	if name == "" {
		name = Default
	}
	if f, ok := r[name]; ok {
		return f, true
	}
	return OS{}, name == Default
}

// Holder is what knows the file systems of a document: a handlers.Server, if its
// document can have any.
type Holder interface {
	FileSystems() Registry
}

// Find asks a server, which may be no Holder, for the file system with the name.
func Find(server any, name string) (FS, bool) {
	if h, ok := server.(Holder); ok {
		return h.FileSystems().Find(name)
	}
	return Registry(nil).Find(name)
}
