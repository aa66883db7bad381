// Package adapt turns a Caddyfile into the document that it stands for: sites
// become servers and routes, directives become handlers, in the order in which
// they run and not in which they are written.
//
// The language itself is read by config/caddyfile, and what a directive means
// is known in its handler's folder. Here is what lies between: matchers, global
// options, order, groups, and the merging of sites into servers. What is about
// TLS is in tlsadapt, addresses of sites are read by address, and places knows
// where in the text each value was written.
package adapt
