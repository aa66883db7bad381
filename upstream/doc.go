// Package upstream holds what a proxy knows about the servers behind it and what must outlive any one configuration:
// the request counters and failures of each host, its health and who finds that out ([Judge]), the requests in flight by
// address, and the connection pools.
//
// Everything is looked up by meaning. A [Host] belongs to a dial text, however many handlers name it; a connection pool
// belongs to a set of options ([HTTPOptions]), however many handlers have chosen them; a [Checker] belongs to a host and
// to what is asked of it. All are counted: they come into being with the first Acquire and go with the last Release. A
// release never interrupts a request that is running; a probe it does.
//
// The rules cited as HOST-n, DIAL-n, ADM-n and HT-n are those of the reverse proxy compatibility reference.
package upstream
