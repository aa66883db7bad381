// Package endpoint is where the admin API is reached: the `admin` object of the
// document, and the listener it describes.
//
// Spec describes the object; it compiles to an Endpoint. The listeners are those
// of Sockets, a service of the process, which keeps one open for as long as the
// address stays the same, whatever else changes. What answers requests is an
// admin.API, under the rules of the admin.Guard that the document in force asks
// for.
package endpoint
