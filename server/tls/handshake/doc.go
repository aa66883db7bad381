// Package handshake is the TLS connection policies of a server: which of its clients get which handshake.
//
// A document's policies are a [Policies], which an edit derives from the one before; a policy that has not changed is the same
// value, with what was made of it. [Policies.Bind] puts them to use for a listener: a [Bound] answers
// [crypto/tls.Config.GetConfigForClient] with a config that was made when the policy was first used. So a listener need not be
// touched when policies change; it only has to ask the Bound of the document that serves now. Certificates come from a
// [Source], the keys of session tickets from the [Tickets] of the process.
package handshake

import "github.com/sluiceproxy/sluice/config/module"

// Specs describes the modules of this package.
func Specs() []module.Spec {
	specs := []module.Spec{
		module.NewList(ListID, "The TLS connection policies of a server, tried in order.", PolicyID, (*Policies).update),
		module.New(PolicyID, "One TLS connection policy: which handshakes it is for, and how they are made.", nil, compilePolicy),
	}
	specs = append(specs, matcherSpecs()...)
	specs = append(specs, verifierSpecs()...)
	return append(specs, keySourceSpecs()...)
}
