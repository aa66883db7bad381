package config

// Verb is one of the four ways to edit a document, named for the methods of the admin API.
type Verb uint8

// The verbs.
const (
	Post   Verb = iota + 1 // sets a value, or appends to an array
	Put                    // creates a value which must not exist yet, or inserts into an array
	Patch                  // replaces a value which must exist
	Delete                 // removes a value which must exist
)

// String returns the HTTP method.
func (v Verb) String() string {
	switch v {
	case Post:
		return "POST"
	case Put:
		return "PUT"
	case Patch:
		return "PATCH"
	case Delete:
		return "DELETE"
	}
	return "no verb"
}

// Edit is one change of a document, as a request to the admin API states it.
type Edit struct {
	Verb Verb
	// Path is where; its last segment can be "..." to append each element of an array.
	Path Path
	// RequestPath is the path of the request for messages, such as "/config/apps/"; if empty it is made of Path.
	RequestPath string
	// Value is the new value; nil means null. It is not used by Delete. Its arrays and objects must not be part of any
	// document yet (as those from Parse and FromGo are not); see Node.Clone.
	Value *Node
	// Whole replaces the whole document by Value, whatever it was; Verb and Path are not used.
	Whole bool
}
