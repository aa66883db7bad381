package encode

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/sluiceproxy/sluice/config/module"
)

// Encoding is the running value of a module http.encoders: a way to encode
// response bodies. It is immutable and safe for concurrent use.
type Encoding struct {
	token  string   // as in Accept-Encoding
	field  []string // the header Content-Encoding; never written to
	suffix string   // ends the strong tag of an encoded response
	pool   *sync.Pool
	create func(io.Writer) (encoder, error)
}

func newEncoding(token string, pool *sync.Pool, create func(io.Writer) (encoder, error)) *Encoding {
	return &Encoding{token, []string{token}, "-" + token + `"`, pool, create}
}

// encoder is what a compression library offers. After a Reset it may be used for
// another body, whatever became of the last one.
type encoder interface {
	io.WriteCloser
	Flush() error
	Reset(io.Writer)
}

// stream is an encoder with what it writes to. It goes back to its pool when the
// body is complete.
type stream struct {
	encoder
	to sink
}

// sink is where an encoder writes. Emptying it lets go of the response without a
// reset of the encoder, which is dear.
type sink struct{ w io.Writer }

// Write implements io.Writer.
func (s *sink) Write(p []byte) (int, error) {
	if s.w == nil {
		return 0, errOver
	}
	return s.w.Write(p)
}

var errOver = errors.New("the response is complete; nothing can be written to it any more")

// open returns a stream that writes to w.
func (e *Encoding) open(w io.Writer) (*stream, error) {
	if s, ok := e.pool.Get().(*stream); ok {
		s.to.w = w
		s.Reset(&s.to)
		return s, nil
	}
	s := &stream{to: sink{w}}
	var err error
	if s.encoder, err = e.create(&s.to); err != nil {
		return nil, fmt.Errorf("making an encoder for %s: %w", e.token, err)
	}
	return s, nil
}

// release takes back a stream from open.
func (e *Encoding) release(s *stream) {
	s.to.w = nil
	e.pool.Put(s)
}

// All sites share encoders of the same settings, by level and so on.
var (
	gzipPools   [gzip.BestCompression - gzip.StatelessCompression + 1]sync.Pool
	zstdPools   [len(zstdLevels)][2]sync.Pool
	brotliPools [brotli.BestCompression + 1]sync.Pool
)

// Gzip is the encoder gzip.
type Gzip struct {
	// Level is how hard to compress: 1 is fastest, 9 smallest; -1 is the default of
	// the compressor, -2 uses Huffman coding only, -3 keeps no state between
	// writes. Default: 5.
	Level int `json:"level,omitempty" check:"min=-3,max=9"`
}

const defaultGzipLevel = 5

func gzipSpec() module.Spec {
	return module.New("http.encoders.gzip", "Compresses with gzip.", nil, compileGzip,
		module.Examples(module.Example{Title: "Harder than by default", JSON: `{"level": 7}`}), module.Words(gzipWords))
}

func compileGzip(_ *module.Env, c *Gzip) (*Encoding, error) {
	level := c.Level
	if level == 0 {
		level = defaultGzipLevel
	}
	pool := &gzipPools[level-gzip.StatelessCompression]
	return newEncoding("gzip", pool, func(w io.Writer) (encoder, error) {
		z, err := gzip.NewWriterLevel(w, level)
		if err != nil {
			return nil, err
		}
		return (&gzipWriter{z}).undated(), nil
	}), nil
}

// gzipWriter leaves the time of modification out (RFC 1952, 2.3.1).
type gzipWriter struct{ *gzip.Writer }

func (z *gzipWriter) undated() *gzipWriter {
	z.ModTime = time.Unix(0, 0)
	return z
}

// Reset implements encoder.
func (z *gzipWriter) Reset(w io.Writer) {
	z.Writer.Reset(w)
	z.undated()
}

// Zstd is the encoder zstd.
type Zstd struct {
	// Level is how hard to compress: fastest, default, better or best, in any case
	// of letters. Default: default.
	Level string `json:"level,omitempty"`
	// Checksum adds a checksum of the content to the body. Default: true.
	Checksum *bool `json:"checksum,omitempty"`
}

// zstdWindow is how far back a client must be able to look. RFC 9659 would allow
// 8 MiB, but that much memory for each response is not worth what it saves.
const zstdWindow = 128 << 10

type zstdLevel struct {
	name  string
	level zstd.EncoderLevel
}

var zstdLevels = [...]zstdLevel{
	{"fastest", zstd.SpeedFastest}, {"default", zstd.SpeedDefault}, {"better", zstd.SpeedBetterCompression}, {"best", zstd.SpeedBestCompression},
}

const zstdLevelNames = "fastest, default, better, best"

// zstdLevelOf returns the index of a level, -1 if there is none of that name.
func zstdLevelOf(name string) int {
	if name == "" {
		name = "default"
	}
	for i := range zstdLevels {
		if strings.EqualFold(name, zstdLevels[i].name) {
			return i
		}
	}
	return -1
}

func zstdSpec() module.Spec {
	return module.New("http.encoders.zstd", "Compresses with Zstandard.", nil, compileZstd,
		module.Examples(module.Example{Title: "Smaller, without a checksum", JSON: `{"level": "better", "checksum": false}`}), module.Words(zstdWords))
}

func compileZstd(_ *module.Env, c *Zstd) (*Encoding, error) {
	level := zstdLevelOf(c.Level)
	if level < 0 {
		return nil, module.Problem("/level", fmt.Sprintf("unexpected compression level %q, use one of %s", c.Level, zstdLevelNames))
	}
	checksum := c.Checksum == nil || *c.Checksum
	pool := &zstdPools[level][0]
	if checksum {
		pool = &zstdPools[level][1]
	}
	return newEncoding("zstd", pool, func(w io.Writer) (encoder, error) {
		return zstd.NewWriter(w,
			zstd.WithEncoderLevel(zstdLevels[level].level),
			zstd.WithEncoderCRC(checksum),
			zstd.WithWindowSize(zstdWindow),
			zstd.WithEncoderConcurrency(1), // no goroutines, and no order to wait for
			zstd.WithLowerEncoderMem(true),
			zstd.WithZeroFrames(true)) // an empty body is a frame, too
	}), nil
}

// Brotli is the encoder br.
type Brotli struct {
	// Quality is how hard to compress: 0 is fastest, 11 smallest, and very slow.
	// Default: 4.
	Quality *int `json:"quality,omitempty" check:"min=0,max=11"`
}

const (
	defaultBrotliQuality = 4
	// brotliWindow is the binary logarithm of how far back a client must be able to
	// look.
	brotliWindow = 18
)

func brotliSpec() module.Spec {
	return module.New("http.encoders.br", "Compresses with Brotli.", nil, compileBrotli,
		module.Examples(module.Example{Title: "Harder than by default", JSON: `{"quality": 6}`}), module.Words(brotliWords))
}

func compileBrotli(_ *module.Env, c *Brotli) (*Encoding, error) {
	quality := defaultBrotliQuality
	if c.Quality != nil {
		quality = *c.Quality
	}
	return newEncoding("br", &brotliPools[quality], func(w io.Writer) (encoder, error) {
		return brotli.NewWriterOptions(w, brotli.WriterOptions{Quality: quality, LGWin: brotliWindow}), nil
	}), nil
}
