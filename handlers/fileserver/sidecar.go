package fileserver

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/config/module"
)

// Sidecar is a kind of file that lies beside another one and holds the same in
// compressed form: the running value of a module http.precompressed.
type Sidecar struct {
	// Encoding is its name in Content-Encoding.
	Encoding string
	// Suffix is what its name has beyond that of the file.
	Suffix string
}

// GzipConfig is files compressed with gzip, which end in .gz.
type GzipConfig struct {
	// Level is accepted for likeness with the encoder, -3 to 9; it has no effect.
	Level int `json:"level,omitempty" check:"min=-3,max=9"`
}

// ZstdConfig is files compressed with Zstandard, which end in .zst.
type ZstdConfig struct {
	// Level is accepted for likeness with the encoder: fastest, default, better or
	// best; it has no effect.
	Level string `json:"level,omitempty"`
	// Checksum is accepted for likeness with the encoder; it has no effect.
	Checksum *bool `json:"checksum,omitempty"`
}

// BrotliConfig is files compressed with Brotli, which end in .br.
type BrotliConfig struct{}

func sidecarSpecs() []module.Spec {
	return []module.Spec{
		module.New("http.precompressed.gzip", "Files beside files, compressed with gzip.", nil,
			func(*module.Env, *GzipConfig) (Sidecar, error) { return Sidecar{"gzip", ".gz"}, nil }),
		module.New("http.precompressed.zstd", "Files beside files, compressed with Zstandard.", nil,
			func(_ *module.Env, cfg *ZstdConfig) (Sidecar, error) {
				levels := []string{"", "fastest", "default", "better", "best"}
				if !slices.Contains(levels, strings.ToLower(cfg.Level)) {
					return Sidecar{}, module.Problem("/level", fmt.Sprintf("%q is not a level; there are %s", cfg.Level, strings.Join(levels[1:], ", ")))
				}
				return Sidecar{"zstd", ".zst"}, nil
			}),
		module.New("http.precompressed.br", "Files beside files, compressed with Brotli.", nil,
			func(*module.Env, *BrotliConfig) (Sidecar, error) { return Sidecar{"br", ".br"}, nil }),
	}
}

// sidecar is a kind of sidecar with its place in the preference of the server.
type sidecar struct {
	Sidecar
	rank int // less is better
}

func (c *compiler) sidecars(h *handler, cfg *Config) {
	for _, name := range slices.Sorted(maps.Keys(cfg.Precompressed)) {
		s := sidecar{Sidecar: cfg.Precompressed[name].Value(), rank: math.MaxInt}
		if slices.ContainsFunc(h.sidecars, func(o sidecar) bool { return o.Encoding == s.Encoding }) {
			c.problem(config.JoinPointer("/precompressed", name), fmt.Sprintf("there is another module for the encoding %s", s.Encoding))
		}
		if i := slices.Index(cfg.PrecompressedOrder, s.Encoding); i >= 0 {
			s.rank = i
		}
		h.sidecars = append(h.sidecars, s)
	}
}

// accepted is a sidecar that a request accepts.
type accepted struct {
	*sidecar
	weight   float64
	position int // in the header
}

// negotiate appends the sidecars that a client accepts, best first.
func (h *handler) negotiate(out []accepted, header http.Header) []accepted {
	line := header.Get("Accept-Encoding")
	if line == "" || len(header["Sec-Websocket-Key"]) > 0 {
		return out
	}
	for position, more := 0, true; more; position++ {
		var token string
		token, line, more = strings.Cut(line, ",")
		name, params, _ := strings.Cut(token, ";")
		name = strings.TrimSpace(name)
		for i := range h.sidecars {
			s := &h.sidecars[i]
			if !strings.EqualFold(name, s.Encoding) {
				continue
			}
			if weight := weightOf(params); weight > 0 {
				out = addAccepted(out, accepted{s, weight, position})
			}
		}
	}
	slices.SortFunc(out, func(a, b accepted) int {
		switch {
		case a.weight != b.weight && a.weight > b.weight:
			return -1
		case a.weight != b.weight:
			return 1
		case a.rank != b.rank && a.rank < b.rank:
			return -1
		case a.rank != b.rank:
			return 1
		}
		return a.position - b.position
	})
	return out
}

// addAccepted keeps the best of several tokens for one encoding.
func addAccepted(out []accepted, a accepted) []accepted {
	for i := range out {
		if out[i].sidecar == a.sidecar {
			if a.weight > out[i].weight {
				out[i] = a
			}
			return out
		}
	}
	return append(out, a)
}

// weightOf reads the first parameter of a token. What is no weight counts as 1.
func weightOf(params string) float64 {
	param, _, _ := strings.Cut(params, ";")
	param = strings.TrimSpace(param)
	if len(param) < 2 || param[0]|0x20 != 'q' || param[1] != '=' {
		return 1
	}
	w, err := strconv.ParseFloat(param[2:], 64)
	if err != nil || !(w >= 0 && w <= 1) {
		return 1
	}
	return w
}
