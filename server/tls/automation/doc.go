// Package automation is the app tls: which certificates there are, and how they are obtained and renewed.
//
// A document's part is an [App]: automation policies, loaded certificates, names to manage, keys of Encrypted ClientHello.
// It is compiled without any effect. What lives as long as the process is the [Manager]: the one cache of certificates, the
// names that are managed, and what went wrong with each. When an App is started its policies take the place of those
// before; a name is worked on again only if what applies to it has changed.
//
// certmagic does the work with certificate authorities, with storage and with OCSP, and has its own plan of when to try
// again. What fails is kept for each name and shown by [Manager.Certificates]; the certificate there was serves on.
package automation
