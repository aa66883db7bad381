// Package authentication lets requests through that come from a known user. It
// holds the handler, the provider http_basic and the hash algorithms bcrypt and
// argon2id.
package authentication

import (
	"errors"
	"maps"
	"net/http"
	"slices"

	"github.com/sluiceproxy/sluice/config/module"
	"github.com/sluiceproxy/sluice/handlers"
	"go.uber.org/zap"
)

// Provider finds out who makes a request. Its modules are
// http.authentication.providers.*; it must be safe for concurrent use.
type Provider interface {
	// Authenticate reports whether r is from a known user, and who that is. A user
	// that is named although ok is false is a candidate: someone who is known and
	// may not pass. It may set headers that tell the client what to do, or write a
	// redirect. An error says that it could not be found out.
	Authenticate(w http.ResponseWriter, r *http.Request) (user User, ok bool, err error)
}

// User is who makes a request.
type User struct {
	// ID is the name that logs and placeholders show.
	ID string
	// Metadata is what else is known.
	Metadata map[string]string
}

// Config is the handler authentication. It lets a request pass if one of its
// providers knows who makes it, and makes {http.auth.user.id} and
// {http.auth.user.KEY} known; else the request ends with error 401.
type Config struct {
	// Providers are ways to authenticate, by their names. Any one of them may accept
	// a request. Without providers nobody passes.
	Providers map[string]module.Ref[Provider] `json:"providers,omitempty" module:"http.authentication.providers" keyed:"true"`
}

// Specs describes the handler, its provider and the hashes. The provider needs
// the service [*Gate].
func Specs() []module.Spec {
	return []module.Spec{handlerSpec(), basicSpec(), bcryptSpec(), argon2Spec()}
}

func handlerSpec() module.Spec {
	return module.New("http.handlers.authentication", "Lets requests of known users pass and refuses all others.", nil, compile, module.Examples(
		module.Example{Title: "Ask for a name and a password", JSON: `{"handler": "authentication", "providers": {"http_basic": {"hash_cache": {},
			"accounts": [{"username": "ann", "password": "$2a$14$4hO7ZAMiGvaTN4QjpwrfTOG.Nl/1gABoiaDCnLzB8i2RCCvDJ/3Z6"}]}}}`},
	), directives())
}

type handler struct {
	names     []string
	providers []Provider
}

// errNobody is the error of a request that no provider accepts.
var errNobody = errors.New("not authenticated")

// statusGone is for a client that has left before the answer.
const statusGone = 499

// loggerName is what the handler's log entries are under.
const loggerName = "http.handlers.authentication"

func compile(_ *module.Env, cfg *Config) (handlers.Handler, error) {
	h := &handler{}
	for _, name := range slices.Sorted(maps.Keys(cfg.Providers)) {
		h.names = append(h.names, name)
		h.providers = append(h.providers, cfg.Providers[name].Value())
	}
	return h, nil
}

// ServeHTTP implements handlers.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next handlers.Next) error {
	x := handlers.Of(r)
	if len(h.providers) == 1 {
		ok, err := h.ask(0, w, r, x)
		if err != nil {
			return err
		}
		if ok {
			return next.ServeHTTP(w, r)
		}
		return handlers.NewError(http.StatusUnauthorized, errNobody)
	}
	replies := make([]*reply, 0, len(h.providers))
	for i := range h.providers {
		p := &reply{header: http.Header{}}
		ok, err := h.ask(i, p, r, x)
		if err != nil {
			return err
		}
		if ok {
			p.copyHeader(w)
			return next.ServeHTTP(w, r)
		}
		replies = append(replies, p)
	}
	if replay(replies, w) {
		return nil
	}
	return handlers.NewError(http.StatusUnauthorized, errNobody)
}

// ask lets one provider decide. The error is one that ends the request.
func (h *handler) ask(i int, w http.ResponseWriter, r *http.Request, x *handlers.Exchange) (bool, error) {
	name := h.names[i]
	user, ok, err := h.providers[i].Authenticate(w, r)
	if err != nil {
		switch {
		case errors.Is(err, errBusy):
			x.Response.Header().Set("Retry-After", "1")
			return false, handlers.NewError(http.StatusServiceUnavailable, err)
		case r.Context().Err() != nil:
			return false, handlers.NewError(statusGone, err)
		}
		x.Server.Logger(loggerName).Error("auth provider returned error", zap.String("provider", name), zap.Error(err))
		x.Set("http.auth."+name+".error", err.Error())
		return false, nil
	}
	prefix := "http.auth.user."
	if !ok {
		if user.ID == "" {
			return false, nil
		}
		prefix = "http.auth.candidate."
	}
	x.Set(prefix+"id", user.ID)
	for key, value := range user.Metadata {
		x.Set(prefix+key, value)
	}
	return ok, nil
}
