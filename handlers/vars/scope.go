package vars

// Scope knows placeholders. Implementations say themselves whether they are
// safe for concurrent use; this package calls them only from the goroutine
// that expands.
type Scope interface {
	// Lookup returns the value that a name stands for, without braces. A name
	// may be known and have no value: nil, true. The value is valid until
	// the scope ends; it must not be changed.
	Lookup(name string) (value any, known bool)
}

// StringScope is a Scope that can give many values without boxing them, which
// saves an allocation for each.
type StringScope interface {
	Scope
	// LookupString returns the text form of a value and whether the name is
	// known. If ok is false the scope has no opinion and Lookup is asked; if it
	// is true the answer must agree with Lookup's.
	LookupString(name string) (text string, known, ok bool)
}

// Func makes a Scope of a function.
type Func func(name string) (value any, known bool)

// Lookup implements [Scope].
func (f Func) Lookup(name string) (any, bool) { return f(name) }

// Map is a Scope of fixed values.
type Map map[string]any

// Lookup implements [Scope].
func (m Map) Lookup(name string) (any, bool) {
	v, ok := m[name]
	return v, ok
}

// Chain returns a scope that asks the given ones in order: the first that
// knows a name wins, also if its value is empty (rule 8.1.8). Nil scopes are
// left out. It is safe for concurrent use if they are.
func Chain(scopes ...Scope) Scope {
	c := make(chain, 0, len(scopes))
	for _, s := range scopes {
		switch s := s.(type) {
		case nil:
		case chain:
			c = append(c, s...)
		default:
			ss, _ := s.(StringScope)
			c = append(c, link{s, ss})
		}
	}
	if len(c) == 1 {
		return c[0].scope
	}
	return c
}

type link struct {
	scope Scope
	texts StringScope // the same scope, if it is one
}

type chain []link

// Lookup implements Scope.
func (c chain) Lookup(name string) (any, bool) {
	for i := range c {
		if v, known := c[i].scope.Lookup(name); known {
			return v, true
		}
	}
	return nil, false
}

// LookupString implements StringScope.
func (c chain) LookupString(name string) (string, bool, bool) {
	for i := range c {
		if ss := c[i].texts; ss != nil {
			if text, known, ok := ss.LookupString(name); ok {
				if known {
					return text, true, true
				}
				continue
			}
		}
		if v, known := c[i].scope.Lookup(name); known {
			return ToString(v), true, true
		}
	}
	return "", false, true
}
