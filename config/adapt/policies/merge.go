package policies

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/sluiceproxy/sluice/config"
)

// merger is automation policies while they become few.
type merger struct {
	list     []*Automation
	subjects []*subjects
	gone     []bool
	index    index
	kinds    []kind
	buckets  map[string][]int // positions of policies that may be the same
}

// Merge makes as few automation policies as there can be, the most specific
// first. It changes the policies that it is given.
func Merge(list []*Automation) ([]*Automation, error) {
	if !slices.ContainsFunc(list, func(p *Automation) bool { return !p.empty() }) {
		return nil, nil
	}
	m := &merger{list: list, gone: make([]bool, len(list))}
	m.sort()
	m.fill()
	m.dropEmpty()
	for i := range m.list {
		if !m.gone[i] {
			m.merge(i)
		}
	}
	var out []*Automation
	for i, p := range m.list {
		if !m.gone[i] {
			out = append(out, p)
		}
	}
	return out, ambiguous(out)
}

// AmbiguousError is about a name that is left in two policies.
type AmbiguousError struct{ Subject string }

// Error names the subject.
func (e *AmbiguousError) Error() string {
	return "hostname appears in more than one automation policy, making certificate management ambiguous: " + e.Subject
}

func ambiguous(list []*Automation) error {
	seen := map[string]bool{}
	for _, p := range list {
		for _, s := range p.Subjects {
			if seen[s] {
				return &AmbiguousError{s}
			}
			seen[s] = true
		}
	}
	return nil
}

// sort puts policies before those that cover them. The comparison is not a
// strict weak order, so that the algorithm is part of the outcome.
func (m *merger) sort() {
	type item struct {
		p *Automation
		s *subjects
	}
	items := make([]item, len(m.list))
	for i, p := range m.list {
		items[i] = item{p, newSubjects(p.Subjects)}
	}
	sort.SliceStable(items, func(i, j int) bool {
		a, b := &items[i], &items[j]
		switch {
		case b.s.covers(a.s):
			return true
		case a.s.covers(b.s):
			return false
		}
		return len(a.p.Subjects) > len(b.p.Subjects)
	})
	m.list, m.subjects = make([]*Automation, len(items)), make([]*subjects, len(items))
	for i, it := range items {
		m.list[i], m.subjects[i] = it.p, it.s
	}
}

func (m *merger) fill() {
	m.index = index{by: map[string][]int{}}
	m.buckets, m.kinds = map[string][]int{}, make([]kind, len(m.list))
	for i, p := range m.list {
		if len(p.Subjects) == 0 {
			m.index.all = append(m.index.all, i)
		}
		for _, name := range m.subjects[i].list {
			m.index.add(name, i)
		}
		m.kinds[i] = p.kind()
		for _, key := range m.kinds[i].keys() {
			m.buckets[key] = append(m.buckets[key], i)
		}
	}
}

// covering returns the first policy behind i that covers it; ok is false if
// there is none.
func (m *merger) covering(i int) (position int, ok bool) {
	for _, j := range m.index.after(m.subjects[i], i) {
		if !m.gone[j] && m.subjects[j].covers(m.subjects[i]) {
			return j, true
		}
	}
	return 0, false
}

// dropEmpty takes out policies that say nothing where what follows says nothing
// else.
func (m *merger) dropEmpty() {
	for i, p := range m.list {
		if !p.empty() {
			continue
		}
		j, covered := m.covering(i)
		m.gone[i] = i == len(m.list)-1 || (covered && m.list[j].onlyManagers())
	}
}

// merge joins those behind i to it that have the same settings.
func (m *merger) merge(i int) {
	p := m.list[i]
	var later []int
	for _, key := range m.kinds[i].keys() {
		for _, j := range m.buckets[key] {
			if j > i && !m.gone[j] {
				later = append(later, j)
			}
		}
	}
	slices.Sort(later)
	for _, j := range slices.Compact(later) {
		q := m.list[j]
		if !m.kinds[i].alike(&m.kinds[j]) {
			continue
		}
		if len(p.Subjects) > 0 && len(q.Subjects) == 0 {
			if k, ok := m.covering(i); ok && k < j {
				continue
			}
			m.gone[i] = true
			return
		}
		m.gone[j] = true
		for _, name := range q.Subjects {
			if _, has := m.subjects[i].names[strings.ToLower(name)]; !has {
				p.Subjects = append(p.Subjects, name)
				m.subjects[i].add(name)
				m.index.add(name, i)
			}
		}
	}
}

// kind is what of a policy decides which others it may be joined with. Names
// that are joined to it do not change it.
type kind struct {
	// settings are those besides issuers. OCSP is not compared.
	settings string
	issuers  string // "" for none
	all      bool   // it is for all names
	class    class
	local    bool
}

func (p *Automation) kind() kind {
	k := kind{all: len(p.Subjects) == 0, class: p.class()}
	k.local = p.Local || (len(p.Issuers) == 0 && k.class == internal)
	k.settings = fmt.Sprintf("%s %q %v %v %v", config.NewArray(p.Managers).AppendJSON(nil), p.KeyType, p.OnDemand, p.ReusePrivateKeys, p.RenewalWindowRatio)
	if len(p.Issuers) > 0 {
		k.issuers = string(config.NewArray(p.Issuers).AppendJSON(nil))
	}
	return k
}

// keys are the buckets of a policy: two that are alike share one.
func (k *kind) keys() []string {
	var out []string
	switch {
	case k.issuers != "":
		out = append(out, k.settings+k.issuers)
	case !k.all:
		out = append(out, k.settings+string(k.class))
	default:
		out = append(out, k.settings+string(public), k.settings+string(internal), k.settings+string(mixed))
	}
	if k.local {
		out = append(out, k.settings+" local")
	}
	return out
}

// alike reports whether policies have the same settings and issuers.
func (k *kind) alike(other *kind) bool {
	switch {
	case k.settings != other.settings:
		return false
	case k.local && other.local:
		return true
	case k.issuers != other.issuers:
		return false
	}
	return k.issuers != "" || k.all || other.all || k.class == other.class
}
