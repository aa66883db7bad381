// Package config holds the document: an immutable JSON tree, the edits of the admin API on it, its @id index, its ETags
// and the differences between two of its versions.
//
// A Node never changes after it is made. An edit copies the nodes on its path and shares the rest, and Reuse puts old
// nodes in place of equal new ones, so that the same pointer means the same content at the same place: what was built from
// a node can be kept for as long as the node is part of the document. Within one document an object or array node stands
// at exactly one place; scalars may be shared.
package config
