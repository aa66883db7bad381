package automation

import "sync/atomic"

// lingers is certificates of names that are no longer managed but serve until others have theirs. The Manager's lock guards
// it, but for count.
type lingers struct {
	count   atomic.Int32
	byName  map[string]map[string]struct{} // what each waits for
	waiting map[string]map[string]struct{} // who waits for each
}

func (l *lingers) init() {
	l.byName, l.waiting = map[string]map[string]struct{}{}, map[string]map[string]struct{}{}
}

func (l *lingers) has(name string) bool { return l.byName[name] != nil }

// add lets a name linger until all the others have certificates.
func (l *lingers) add(name string, waits []string) {
	l.keep(name)
	set := make(map[string]struct{}, len(waits))
	for _, w := range waits {
		set[w] = struct{}{}
		if l.waiting[w] == nil {
			l.waiting[w] = map[string]struct{}{}
		}
		l.waiting[w][name] = struct{}{}
	}
	l.byName[name] = set
	l.count.Add(1)
}

// keep takes a name out, since it is managed again.
func (l *lingers) keep(name string) {
	set, ok := l.byName[name]
	if !ok {
		return
	}
	for w := range set {
		delete(l.waiting[w], name)
		if len(l.waiting[w]) == 0 {
			delete(l.waiting, w)
		}
	}
	delete(l.byName, name)
	l.count.Add(-1)
}

// done says that nobody has to wait for a name any more, and returns those that waited for nothing else.
func (l *lingers) done(name string) (gone []string) {
	for other := range l.waiting[name] {
		set := l.byName[other]
		delete(set, name)
		if len(set) == 0 {
			delete(l.byName, other)
			l.count.Add(-1)
			gone = append(gone, other)
		}
	}
	delete(l.waiting, name)
	return gone
}
