package encode_test

import (
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
)

func TestDirective(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "encode", `{"encodings":{"gzip":{},"zstd":{}},"prefer":["zstd","gzip"]}`},
		{"formats", "encode gzip zstd", `{"encodings":{"gzip":{},"zstd":{}},"prefer":["gzip","zstd"]}`},
		{"everything", "encode * gzip", `{"encodings":{"gzip":{}},"prefer":["gzip"]}`},
		{"brotli", "encode br {\n\tgzip\n}", `{"encodings":{"gzip":{},"br":{}},"prefer":["gzip","br"]}`},
		{"brotli with quality", "encode {\n\tbr 0\n}", `{"encodings":{"br":{"quality":0}},"prefer":["br"]}`},
		{"the block comes first", "encode gzip {\n\tzstd best {\n\t\tdisable_checksum\n\t}\n\tminimum_length 64\n\tmatch status 2xx\n}",
			`{"encodings":{"gzip":{},"zstd":{"level":"best","checksum":false}},"prefer":["zstd","gzip"],"minimum_length":64,"match":{"status_code":[2]}}`},
		{"levels", "encode {\n\tgzip 5\n\tzstd {\n\t\tlevel FASTEST\n\t}\n}", `{"encodings":{"gzip":{"level":5},"zstd":{"level":"FASTEST"}},"prefer":["gzip","zstd"]}`},
		{"a level of any number", "encode {\n\tgzip 42\n}", `{"encodings":{"gzip":{"level":42}},"prefer":["gzip"]}`},
		{"the line resets the block", "encode gzip {\n\tgzip 9\n}", `{"encodings":{"gzip":{}},"prefer":["gzip","gzip"]}`},
		{"only options", "encode {\n\tminimum_length 1\n}", `{"encodings":{"gzip":{},"zstd":{}},"prefer":["zstd","gzip"],"minimum_length":1}`},
		{"a negative length", "encode {\n\tminimum_length -1\n}", `{"encodings":{"gzip":{},"zstd":{}},"prefer":["zstd","gzip"],"minimum_length":-1}`},
		{"match of many lines", "encode {\n\tmatch {\n\t\tstatus 2xx 404\n\t\theader Content-Type text/*\n\t\theader Content-Type image/svg+xml*\n\t}\n}",
			`{"encodings":{"gzip":{},"zstd":{}},"prefer":["zstd","gzip"],"match":{"status_code":[2,404],"headers":{"Content-Type":["text/*","image/svg+xml*"]}}}`},
		{"the last match counts", "encode {\n\tmatch status 404\n\tmatch header X-A b\n}",
			`{"encodings":{"gzip":{},"zstd":{}},"prefer":["zstd","gzip"],"match":{"headers":{"X-A":["b"]}}}`},
		{"an empty match", "encode {\n\tmatch {\n\t}\n}", `{"encodings":{"gzip":{},"zstd":{}},"prefer":["zstd","gzip"],"match":{}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := adapttest.Routes(t, c.text)
			if err != nil {
				t.Fatal(err)
			}
			adapttest.Same(t, got, `[{"handle":[`+strings.Replace(c.want, "{", `{"handler":"encode",`, 1)+`]}]`)
		})
	}
}

func TestDirectivesOfASite(t *testing.T) {
	got, err := adapttest.Routes(t, "encode /a\nencode /b gzip\nencode\nencode zstd")
	if err != nil {
		t.Fatal(err)
	}
	adapttest.Same(t, got, `[
		{"match":[{"path":["/a"]}],"handle":[{"handler":"encode","encodings":{"gzip":{},"zstd":{}},"prefer":["zstd","gzip"]}]},
		{"match":[{"path":["/b"]}],"handle":[{"handler":"encode","encodings":{"gzip":{}},"prefer":["gzip"]}]},
		{"handle":[{"handler":"encode","encodings":{"gzip":{},"zstd":{}},"prefer":["zstd","gzip"]},{"handler":"encode","encodings":{"zstd":{}},"prefer":["zstd"]}]}]`)
}

func TestDirectiveErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"encode deflate", "finding encoder module 'http.encoders.deflate': module not registered: http.encoders.deflate"},
		{"encode gzp", "did you mean 'gzip'?"},
		{"encode {\n\tdeflate\n}", "getting module named 'http.encoders.deflate': module not registered: http.encoders.deflate"},
		{"encode {\n\tgzip fast\n}", "invalid level 'fast'"},
		{"encode {\n\tgzip 1 2\n}", "wrong argument count"},
		{"encode {\n\tgzip {\n\t\tlevel 1\n\t}\n}", "wrong argument count"},
		{"encode {\n\tzstd hard\n}", "unexpected compression level, use one of fastest, default, better, best"},
		{"encode {\n\tzstd {\n\t\tlevel hard\n\t}\n}", "unexpected compression level, use one of"},
		{"encode {\n\tzstd {\n\t\tlevel\n\t}\n}", "wrong argument count"},
		{"encode {\n\tzstd best best\n}", "wrong argument count"},
		{"encode {\n\tzstd {\n\t\tchecksum\n\t}\n}", "unrecognized zstd subdirective 'checksum'"},
		{"encode {\n\tbr 12\n}", "invalid quality '12'"},
		{"encode {\n\tbr 1 2\n}", "wrong argument count"},
		{"encode {\n\tminimum_length\n}", "wrong argument count"},
		{"encode {\n\tminimum_length 1k\n}", "invalid integer '1k'"},
		{"encode {\n\tmatch\n}", "wrong argument count"},
		{"encode {\n\tmatch path /x\n}", "unrecognized response matcher path"},
		{"encode @nobody gzip", "unrecognized matcher name: @nobody"},
	} {
		if got, err := adapttest.Routes(t, c.text); err == nil {
			t.Errorf("%s: no error but %s", c.text, got)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("error of %q\nis   %s\nwant %s", c.text, err, c.want)
		}
	}
}
