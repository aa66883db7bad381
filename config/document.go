package config

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// Doc is one version of the document, with an index of the @id in it. It never changes and may be used by any number of
// goroutines. Its methods return errors of type *Error only.
type Doc struct {
	root     *Node // nil when the document was deleted
	ids      idMap
	maxDepth int
}

// NewDoc returns the document root. A nil root is a document that does not exist, as after DELETE /config/: it reads as
// null, and can be created by PUT. The error is for an @id that is used twice or is neither a string nor a number, or for
// nesting deeper than DefaultMaxDepth.
func NewDoc(root *Node) (*Doc, error) {
	d := &Doc{maxDepth: DefaultMaxDepth}
	return d.withRoot(root)
}

// WithLimits returns the same document with another limit for the edits to come, MaxDepth of lim.
func (d *Doc) WithLimits(lim Limits) *Doc {
	c := *d
	c.maxDepth = lim.withDefaults().MaxDepth
	return &c
}

// withRoot returns the next version of d, which is d if nothing changed.
func (d *Doc) withRoot(root *Node) (*Doc, error) {
	if root == d.root {
		return d, nil
	}
	if root != nil && int(root.height()) > d.maxDepth {
		return nil, d.tooDeep()
	}
	ids, err := reindex(d.ids, d.root, root)
	if err != nil {
		return nil, err
	}
	return &Doc{root: root, ids: ids, maxDepth: d.maxDepth}, nil
}

func (d *Doc) tooDeep() *Error {
	return &Error{Status: statusBadRequest, Msg: fmt.Sprintf("the document would be nested deeper than %d levels", d.maxDepth)}
}

// Root returns the document's value, and nil if the document does not exist.
func (d *Doc) Root() *Node { return d.root }

// wrapped returns the object with the single key "config" in which the paths of the admin API begin; it is empty if the
// document does not exist.
func (d *Doc) wrapped() *Node {
	if d.root == nil {
		return newObject(emptyShape, nil)
	}
	return newObject(configShape, []*Node{d.root})
}

// PathOf returns the path of the object with this @id, with array indexes as they are in this version. Numbers are found by
// their shortest form (1.2345678e+07). It takes logarithmic time.
func (d *Doc) PathOf(id string) (Path, bool) {
	s := d.ids.get(id)
	if s == nil {
		return nil, false
	}
	return s.path(d.root), true
}

// IDs returns how many @id the document holds.
func (d *Doc) IDs() int { return d.ids.len }

// Get returns the value at a path. A last key that is missing gives null, and a last segment "..." of an array the array.
// Any other path that can't be walked is an error with status 400.
func (d *Doc) Get(p Path) (*Node, error) {
	n, err := get(d.wrapped(), rooted(p))
	if err != nil {
		err.Status = statusBadRequest
		return nil, err
	}
	return n, nil
}

// rooted returns the path as it is in the wrapped document.
func rooted(p Path) []string { return append([]string{"config"}, p...) }

const ellipsis = "..."

// get walks segs from n. The status of an error is that of a write.
func get(n *Node, segs []string) (*Node, *Error) {
	for i, seg := range segs {
		last := i == len(segs)-1
		switch n.Kind() {
		case Object:
			if n = n.Get(seg); n == nil && last {
				return nullNode, nil
			}
		case Array:
			if last && seg == ellipsis {
				return n, nil
			}
			at, err := element(n, segs, i, "", n.Len())
			if err != nil {
				return nil, err
			}
			n = n.Index(at)
		default:
			return nil, badTraversal(segs, i)
		}
	}
	return n, nil
}

// badTraversal is for a value that has no part segs[i], because it is missing or a scalar.
func badTraversal(segs []string, i int) *Error {
	return &Error{Status: statusNotFound, Pointer: pointerTo(segs, i),
		Msg: "invalid traversal path at: " + strings.Join(segs[:i+1], "/")}
}

// element reads segs[i] as the index of an element of n, where end is the first that is out of range. The message begins
// with requestPath, or the path so far if it is empty.
func element(n *Node, segs []string, i int, requestPath string, end int) (int, *Error) {
	at, err := parseIndex(segs[i])
	status := statusBadRequest
	if err == nil && (at < 0 || at >= end) {
		status, err = statusNotFound, fmt.Errorf("array index out of bounds: %d", at)
	}
	if err == nil {
		return at, nil
	}
	if requestPath == "" {
		requestPath = "/" + strings.Join(segs[:i+1], "/")
	}
	return 0, &Error{Status: status, Pointer: pointerTo(segs, i), Msg: fmt.Sprintf("[%s] %v", requestPath, err)}
}

// pointerTo is the JSON Pointer, in the document, of what segs[:i] leads to.
func pointerTo(segs []string, i int) string { return Path(segs[min(1, i):i]).Pointer() }

// Etag returns the entity tag of the value at a path: the path of the request and the XXH64 of the canonical form with a
// newline, in quotes. It fails as Get does.
func (d *Doc) Etag(requestPath string, p Path) (string, error) {
	n, err := d.Get(p)
	if err != nil {
		return "", err
	}
	return formatEtag(requestPath, n.hashJSON()), nil
}

// BodyEtag returns the same as Doc.Etag for a body that is at hand, its final newline included.
func BodyEtag(requestPath string, body []byte) string {
	return formatEtag(requestPath, xxhash.Sum64(body))
}

func formatEtag(requestPath string, hash uint64) string {
	return `"` + requestPath + " " + formatHash(hash) + `"`
}

func formatHash(h uint64) string {
	s := strconv.FormatUint(h, 16)
	return "0000000000000000"[len(s):] + s
}

// CheckIfMatch compares an If-Match header, which must be one entity tag as Etag returns it, with the value at the path that
// it names. The error has status 400 if the header is malformed or has a malformed index in its path, 404 if the path
// can't be walked, and 412 if the value is another.
func (d *Doc) CheckIfMatch(header string) error {
	if len(header) < 2 || header[0] != '"' || header[len(header)-1] != '"' {
		return &Error{Status: statusBadRequest, Msg: "malformed If-Match header; expect quoted string"}
	}
	fields := strings.Fields(header[1 : len(header)-1])
	if len(fields) != 2 {
		return &Error{Status: statusBadRequest, Msg: `malformed If-Match header; expect format "<path> <hash>"`}
	}
	segs := strings.Split(strings.TrimSuffix(strings.TrimPrefix(fields[0], "/"), "/"), "/")
	n, err := get(d.wrapped(), segs)
	if err != nil {
		return err
	}
	if formatHash(n.hashJSON()) != fields[1] {
		return &Error{Status: statusPreconditionFailed, Pointer: pointerTo(segs, len(segs)),
			Msg: "If-Match header did not match current config hash"}
	}
	return nil
}
