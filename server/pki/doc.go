// Package pki is the app pki: certificate authorities of one's own.
//
// The authorities of a process are one value, [Authorities], that outlives documents. An authority is found by its settings
// and its storage, so an edit that touches neither leaves it as it is, with its keys in memory and its timer. The authority
// local exists without being configured.
//
// Compiling and preparing a document makes nothing: it reads the key pairs that the document names, and what the storage
// holds, and refuses what does not fit. A root and an intermediate that are not there yet are generated after the document
// has taken effect, in the background, or by whoever needs the authority first: [Authorities.Get], or the Prepare of a trust
// pool that is made of it. Generation takes place under a lock of the storage, so of several processes that share it one
// generates and the others take over.
//
// Intermediates are renewed in the background, under the same lock. An intermediate that another process has renewed is
// taken over. Roots are never renewed.
package pki
