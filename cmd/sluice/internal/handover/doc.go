// Package handover replaces the running process by another one, of which the program may be newer, without closing a
// listening socket.
//
// The old process starts the new one with one end of a pair of unix sockets, on which they take turns:
//
//	new: hello      I can take over
//	old:            changes of the document wait; the store and other files for one process are released
//	old: sockets    descriptors of all that listens, several times if there are many
//	old: go         the document, or its revision, and what else there is to know
//	new: ready      all of it runs, and waits for connections
//	old: take       UDP sockets are not read any more
//	new: serving    connections are accepted
//	old: main       the service manager knows; the old process only ends what it has begun
//
// Up to "serving" the old process serves. Whatever goes wrong before ends the new one, and all is as it was. Should the
// old one vanish after "ready" the new one takes over by itself.
package handover
