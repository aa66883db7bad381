// Package admin is the REST interface to the engine: it reads and changes the
// document, and shows what the process does.
//
// API holds the routes and is independent of where requests come from. Spec
// describes the `admin` object of the document; what it compiles to owns the
// admin listener, which Sockets keeps open for as long as the address stays the
// same. Every limit on what a client can make the process hold is in Limits.
//
// Sections and rows cited are those of the admin API reference.
package admin
