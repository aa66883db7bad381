// Package admin is the REST interface to the engine: it reads and changes the
// document, and shows what the process does.
//
// API holds the routes and is independent of where requests come from; who may
// use it says a Guard. Package endpoint opens the listener that the `admin`
// object of the document describes, and serves the API there. Every limit on
// what a client can make the process hold is in Limits.
//
// Sections and rows cited are those of the admin API reference.
package admin
