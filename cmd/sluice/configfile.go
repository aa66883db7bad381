package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/schema"
)

// configFile is a document as it was read from a file or from standard input.
type configFile struct {
	file string // "-" for standard input
	text []byte
	root *config.Node
	// warnings are about the text.
	warnings []config.Warning
}

// jsonAdapter is the name under which JSON can be asked for.
const jsonAdapter = "json"

// adapterFor says which language a file is in (cli, section 5 rule 4).
func adapterFor(file, adapter string) string {
	if adapter != "" {
		return adapter
	}
	base := strings.ToLower(filepath.Base(file))
	if (strings.HasPrefix(base, "caddyfile") || strings.HasSuffix(base, ".caddyfile")) && filepath.Ext(base) != ".json" {
		return "caddyfile"
	}
	return jsonAdapter
}

// errNoConfig is for commands that need a file.
var errNoConfig = errors.New("no config file to load")

// readConfig reads a document.
func (p *program) readConfig(file, adapter string) (*configFile, error) {
	if file == "" {
		if adapter != "" {
			return nil, errors.New("cannot adapt config without config file (use --config)")
		}
		return nil, errNoConfig
	}
	c := &configFile{file: file}
	var err error
	if file == "-" {
		if c.text, err = io.ReadAll(p.stdin); err != nil {
			return nil, fmt.Errorf("reading config from stdin: %w", err)
		}
	} else if c.text, err = os.ReadFile(file); err != nil {
		return nil, fmt.Errorf("reading config from file: %w", err)
	}
	switch lang := adapterFor(file, adapter); lang {
	case jsonAdapter:
	case "caddyfile":
		return nil, fmt.Errorf("unrecognized config adapter: %s; this version reads JSON only, so %s must be turned into JSON first (`caddy adapt` does that)", lang, file)
	default:
		return nil, fmt.Errorf("unrecognized config adapter: %s", lang)
	}
	if len(c.text) == 0 {
		c.root = config.NewNull()
		return c, nil
	}
	if c.root, c.warnings, err = config.Parse(c.text, config.Limits{}); err != nil {
		return nil, fmt.Errorf("config is not valid JSON: %w; did you mean to use a config adapter (the --adapter flag)?", err)
	}
	return c, nil
}

// located gives problems the place in the file where they stand.
func (c *configFile) located(ps schema.Problems) schema.Problems {
	out := make(schema.Problems, len(ps))
	for i, p := range ps {
		pointer := p.Pointer
		for p.Line == 0 {
			if line, column, ok := config.Locate(c.text, pointer); ok {
				p.Line, p.Column = line, column
				break
			}
			cut := strings.LastIndexByte(pointer, '/')
			if cut < 0 {
				break
			}
			pointer = pointer[:cut]
		}
		if c.file != "-" {
			p.File = c.file
		}
		out[i] = p
	}
	return out
}

// origin is how changes that come from the file are called in the history.
func (c *configFile) origin() string {
	if c.file == "-" {
		return "standard input"
	}
	return originOfFile(c.file)
}

const fileOrigin = "file "

func originOfFile(file string) string {
	if abs, err := filepath.Abs(file); err == nil {
		file = abs
	}
	return fileOrigin + file
}

// workingCaddyfile is the Caddyfile in the working directory, "" if none.
func workingCaddyfile() string {
	if info, err := os.Stat("Caddyfile"); err == nil && info.Mode().IsRegular() {
		return "Caddyfile"
	}
	return ""
}
