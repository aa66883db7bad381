package engine

import "github.com/BurntSushi/toml"

func parseTOML(text []byte, into *map[string]any) error { return toml.Unmarshal(text, into) }
