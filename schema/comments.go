package schema

import (
	_ "embed"
	"encoding/json"
	"sync"
)

//go:embed comments.json
var commentsJSON []byte

// Comments returns the prose for config types and fields, by names such as
// "github.com/x/y.Config.Field". It is generated from the doc comments of the
// code by sluice-gen.
func Comments() func(name string) string {
	load := sync.OnceValue(func() map[string]string {
		var m map[string]string
		if err := json.Unmarshal(commentsJSON, &m); err != nil {
			return map[string]string{}
		}
		return m
	})
	return func(name string) string { return load()[name] }
}
