package main

import (
	"encoding/json"
	"fmt"
	"strconv"
)

type (
	object = map[string]any
	list   = []any
)

// encode prints a document. Its parts are maps, lists and scalars, so it cannot
// fail.
func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}

// document is a configuration with an admin endpoint, logs of errors only, and
// the servers.
func document(admin string, servers object) object {
	d := object{
		"admin":   object{"listen": admin},
		"logging": object{"logs": object{"default": object{"level": "ERROR"}}},
	}
	if servers != nil {
		d["apps"] = object{"http": object{"servers": servers}}
	}
	return d
}

func httpServer(addr string, routes list) object {
	return object{"listen": list{addr}, "automatic_https": object{"disable": true}, "routes": routes}
}

func handle(handlers ...any) object { return object{"handle": handlers} }

func answer(body string) object {
	return object{"handler": "static_response", "body": body}
}

func proxyTo(addrs ...string) object {
	upstreams := make(list, len(addrs))
	for i, a := range addrs {
		upstreams[i] = object{"dial": a}
	}
	return object{"handler": "reverse_proxy", "upstreams": upstreams}
}

// patchedPath is what the PATCHes of the case reload change: a header value in
// the middle of one route.
const patchedPath = "/id/r5/handle/0/response/set/X-App"

// manyRoutes is a document of n routes, told apart by host or by path. The
// first and the last answer themselves, with "first" and "last".
func manyRoutes(n int, by, admin, data string) object {
	ends := func(name string) object {
		m := object{"host": list{name + ".example.test"}}
		if by == "paths" {
			m = object{"path": list{"/" + name + "/*"}}
		}
		return object{"@id": name, "match": list{m}, "handle": list{answer(name)}, "terminal": true}
	}
	routes := make(list, 0, n)
	routes = append(routes, ends("first"))
	for i := range n - 2 {
		routes = append(routes, middleRoute(i, by))
	}
	return document(admin, object{"s": httpServer(data, append(routes, ends("last")))})
}

func middleRoute(i int, by string) object {
	m := object{"host": list{fmt.Sprintf("app%d.example.test", i)}, "path": list{"/api/*", "/v1/*"}}
	if by == "paths" {
		m = object{"path": list{fmt.Sprintf("/svc%d/*", i)}}
	}
	return object{
		"@id":   "r" + strconv.Itoa(i),
		"match": list{m},
		"handle": list{
			object{"handler": "headers", "response": object{"set": object{"X-App": list{strconv.Itoa(i)}}}},
			proxyTo("127.0.0.1:" + strconv.Itoa(20000+i%40)),
		},
		"terminal": true,
	}
}

// endRequest is a request that the first or the last route of manyRoutes
// answers with its name.
func endRequest(name, by string) []byte {
	if by == "paths" {
		return get("/"+name+"/x", "bench.example.test")
	}
	return get("/x", name+".example.test")
}

// proxySite is a document with two servers that send requests on to an
// upstream: one with few routes, and one with 1,000 others before them.
func proxySite(admin, few, many, upstream string) object {
	site := list{
		object{"match": list{object{"path": list{"/static"}}}, "handle": list{answer("hello")}},
		handle(proxyTo(upstream)),
	}
	var others list
	for i := range 1000 {
		others = append(others, object{
			"match":    list{object{"host": list{fmt.Sprintf("app%d.test", i)}, "path": list{"/api/*"}}},
			"handle":   list{answer(strconv.Itoa(i))},
			"terminal": true,
		})
	}
	return document(admin, object{"few": httpServer(few, site), "many": httpServer(many, append(others, site...))})
}

// changingSite is version k of a small proxy, whose handlers have names.
func changingSite(k int, admin, data, upstream string) object {
	version := list{strconv.Itoa(k)}
	headers := object{"@id": "h", "handler": "headers", "response": object{"set": object{"X-Gen": version}}}
	proxy := proxyTo(upstream)
	proxy["@id"] = "p"
	proxy["headers"] = object{"request": object{"set": object{"X-Gen": version}}}
	proxy["flush_interval"] = -1
	return document(admin, object{"s": httpServer(data, list{handle(headers, proxy)})})
}

// streamSite is a document with a server for HTTP/1.1 and one for gRPC without
// TLS, each before an upstream of its kind.
func streamSite(admin, plain, rpc, plainUpstream, rpcUpstream string) object {
	calls := proxyTo(rpcUpstream)
	calls["transport"] = object{"protocol": "http", "versions": list{"h2c", "2"}}
	server := httpServer(rpc, list{handle(calls)})
	server["protocols"] = list{"h1", "h2c"}
	return document(admin, object{"plain": httpServer(plain, list{handle(proxyTo(plainUpstream))}), "rpc": server})
}
