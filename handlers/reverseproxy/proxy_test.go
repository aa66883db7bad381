package reverseproxy

import (
	"io"
	"net/http"
	"testing"
)

func TestProxiesARequest(t *testing.T) {
	up := backend(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Up", "1")
		w.WriteHeader(201)
		io.WriteString(w, r.Method+" "+r.RequestURI+" "+r.Host+" "+string(body))
	})
	f := proxy(t, `{"upstreams":[{"dial":%q}]}`, up)
	f.do("PUT", "/a%2Fb?x=1&y=%20", "hello", "Host", "site.test").want(t, 201, "PUT /a%2Fb?x=1&y=%20 site.test hello")
}
