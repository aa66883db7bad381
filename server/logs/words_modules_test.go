package logs_test

import (
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/config"
	"github.com/sluiceproxy/sluice/server/logs"
)

func TestWritersAndEncodersInWords(t *testing.T) {
	const field = `{"format":"filter","fields":{"f":`
	tests := []struct{ text, want string }{
		{"output file a.log", `"writer":{"output":"file","filename":"a.log"}`},
		{"output file a.log {\n}", `"writer":{"output":"file","filename":"a.log"}`},
		{"output file a.log {\nmode 644\ndir_mode from_file\n}", `"writer":{"output":"file","filename":"a.log","mode":"0644","dir_mode":"from_file"}`},
		{"output file a.log {\nmode 0644\ndir_mode 755\n}", `"writer":{"output":"file","filename":"a.log","mode":"0644","dir_mode":"755"}`},
		{"output file a.log {\nroll_disabled\n}", `"writer":{"output":"file","filename":"a.log","roll":false}`},
		{"output file a.log {\nroll_size 1gb\nroll_uncompressed\nroll_local_time\nroll_keep 3\nroll_keep_for 36h\n}",
			`"writer":{"output":"file","filename":"a.log","roll_size_mb":954,"roll_gzip":false,"roll_local_time":true,"roll_keep":3,"roll_keep_days":2}`},
		{"output file a.log {\nroll_size 1gib\nroll_keep_for 48h\nroll_compression zstd\n}", `"writer":{"output":"file","filename":"a.log","roll_size_mb":1024,"roll_keep_days":2,"roll_compression":"zstd"}`},
		{"output file a.log {\nroll_size 1\nroll_keep_for 1s\nroll_interval 1d\n}", `"writer":{"output":"file","filename":"a.log","roll_size_mb":1,"roll_keep_days":1,"roll_interval":86400000000000}`},
		{"output file a.log {\nroll_minutes 0,15 30, 45\nroll_at 00:00 6:30,12:00\nbackup_time_format 2006-01-02-15-04-05\n}",
			`"writer":{"output":"file","filename":"a.log","roll_minutes":[0,15,30,45],"roll_at":["00:00","6:30","12:00"],"backup_time_format":"2006-01-02-15-04-05"}`},
		{"output net 127.0.0.1:514", `"writer":{"output":"net","address":"127.0.0.1:514"}`},
		{"output net tcp/a.test:514 {\ndial_timeout 3s\nsoft_start\n}", `"writer":{"output":"net","address":"tcp/a.test:514","dial_timeout":3000000000,"soft_start":true}`},
		{"format filter", `"encoder":{"format":"filter"}`},
		{"format filter {\nwrap json {\ntime_format wall\n}\n}", `"encoder":{"format":"filter","wrap":{"format":"json","time_format":"wall"}}`},
		{"format filter {\nf delete\ng hash\nfields {\nh rename i\nwrap replace x\nfields replace \"\"\n}\n}",
			`"encoder":{"format":"filter","fields":{"f":{"filter":"delete"},"g":{"filter":"hash"},"h":{"filter":"rename","name":"i"},"wrap":{"filter":"replace","value":"x"},"fields":{"filter":"replace"}}}`},
		{"format filter {\nf ip_mask\n}", `"encoder":` + field + `{"filter":"ip_mask"}}}`},
		{"format filter {\nf ip_mask 16\n}", `"encoder":` + field + `{"filter":"ip_mask","ipv4_cidr":16}}}`},
		{"format filter {\nf ip_mask 16 32\n}", `"encoder":` + field + `{"filter":"ip_mask","ipv4_cidr":16,"ipv6_cidr":32}}}`},
		{"format filter {\nf ip_mask {\nipv6 32\nipv4 24\n}\n}", `"encoder":` + field + `{"filter":"ip_mask","ipv4_cidr":24,"ipv6_cidr":32}}}`},
		{"format filter {\nf query {\nreplace a b\ndelete c\nhash d\n}\n}", `"encoder":` + field +
			`{"filter":"query","actions":[{"type":"replace","parameter":"a","value":"b"},{"type":"delete","parameter":"c"},{"type":"hash","parameter":"d"}]}}}`},
		{"format filter {\nf cookie {\nhash d\n}\ng set_cookie {\ndelete c\n}\n}", `"encoder":` + field +
			`{"filter":"cookie","actions":[{"type":"hash","name":"d"}]},"g":{"filter":"set_cookie","actions":[{"type":"delete","name":"c"}]}}}`},
		{"format filter {\nf regexp a+ b\n}", `"encoder":` + field + `{"filter":"regexp","regexp":"a+","value":"b"}}}`},
		{"format filter {\nf regexp a b\nfields {\nf regexp c d\n}\nf regexp e \"\"\n}", `"encoder":` + field +
			`{"filter":"multi_regexp","operations":[{"regexp":"a","value":"b"},{"regexp":"c","value":"d"},{"regexp":"e"}]}}}`},
		{"format filter {\nf multi_regexp {\nregexp a b\nregexp c d\n}\n}", `"encoder":` + field +
			`{"filter":"multi_regexp","operations":[{"regexp":"a","value":"b"},{"regexp":"c","value":"d"}]}}}`},
		{"format append {\nwrap console\na b\nn 3\nfields {\nwrap x\nyes true\nquoted \"1\"\n}\n}",
			`"encoder":{"format":"append","wrap":{"format":"console"},"fields":{"a":"b","n":3,"wrap":"x","yes":true,"quoted":"1"}}`},
		{"format append {\nhost {system.hostname}\n}", `"encoder":{"format":"append","fields":{"host":"{system.hostname}"}}`},
		{"format journald {\nwrap filter {\nwrap console\n}\n}", `"encoder":{"format":"journald","wrap":{"format":"filter","wrap":{"format":"console"}}}`},
		{"format journald", `"encoder":{"format":"journald"}`},
	}
	for _, tt := range tests {
		w, _, err := readLog(t, logs.Site, "log {\n"+tt.text+"\n}")
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		want, _, err := config.Parse([]byte("{"+tt.want+"}"), config.Limits{})
		if err != nil {
			t.Fatalf("%s: %v", tt.want, err)
		}
		if !config.Equal(w.Log, want) {
			t.Errorf("%s\n got %s\nwant %s", tt.text, w.Log.AppendJSON(nil), want.AppendJSON(nil))
		}
		if res := newWorld(t).build(`{"logs":{"x":{` + tt.want + `}}}`); len(res.Problems) > 0 {
			t.Errorf("%s does not load: %v", tt.want, res.Problems)
		}
	}
}

func TestWritersAndEncodersInWordsErrors(t *testing.T) {
	const args = "wrong argument count or unexpected line ending after "
	tests := []struct{ text, want string }{
		{"output file", args + "'file', at Caddyfile:2"},
		{"output file a b", args + "'b', at Caddyfile:2"},
		{"output file a {\nmode rw\n}", `"rw" is not a file mode of one to four octal digits, at Caddyfile:3`},
		{"output file a {\ndir_mode all\n}", `"all" is not a file mode`},
		{"output file a {\nroll_size big\n}", "invalid size 'big': "},
		{"output file a {\nroll_size 99eb\n}", "invalid size '99eb': "},
		{"output file a {\nroll_keep x\n}", "invalid integer 'x', at Caddyfile:3"},
		{"output file a {\nroll_keep_for x\n}", "bad duration value 'x': "},
		{"output file a {\nroll_keep_for -1h\n}", "bad duration value '-1h': a negative time cannot be kept"},
		{"output file a {\nroll_interval\n}", args + "'roll_interval'"},
		{"output file a {\nroll_minutes 1,60\n}", "invalid minute '60'; 0 to 59 are right, at Caddyfile:3"},
		{"output file a {\nroll_at noon\n}", "invalid time 'noon'"},
		{"output file a {\nroll_compression lz4\n}", "unrecognized compression 'lz4'; gzip, zstd and none are known, at Caddyfile:3"},
		{"output file a {\nroll_disabled yes\n}", args + "'yes'"},
		{"output file a {\nroll_kep 1\n}", "unrecognized subdirective roll_kep, at Caddyfile:3 (did you mean 'roll_keep'?)"},
		{"output net", args + "'net'"},
		{"output net a:1 b:1", args + "'b:1'"},
		{"output net a:1 {\ndial_timeout 5\n}", "bad duration value '5'"},
		{"output net a:1 {\nhard_start\n}", "unrecognized subdirective hard_start"},
		{"format filter x", args + "'x'"},
		{"format filter {\nwrap\n}", args + "'wrap'"},
		{"format filter {\nwrap xml\n}", "getting module named 'caddy.logging.encoders.xml': module not registered: caddy.logging.encoders.xml, at Caddyfile:3"},
		{"format filter {\nf\n}", args + "'f', at Caddyfile:3"},
		{"format filter {\nf mask\n}", "getting module named 'caddy.logging.encoders.filter.mask': module not registered: caddy.logging.encoders.filter.mask, at Caddyfile:3"},
		{"format filter {\nf delete\nf delete\n}", "field f already has a filter; multiple non-regexp filters per field are not supported, at Caddyfile:4"},
		{"format filter {\nf delete\nf regexp a b\n}", "cannot mix regexp filters with other filter types for field f, at Caddyfile:4"},
		{"format filter {\nf regexp a b\nf hash\n}", "cannot mix regexp filters with other filter types for field f"},
		{"format filter {\n" + strings.Repeat("f regexp a b\n", 51) + "}", "field f has more than 50 regexp filters, at Caddyfile:53"},
		{"format filter {\nf delete x\n}", args + "'x'"},
		{"format filter {\nf delete {\nx\n}\n}", "malformed delete: blocks are not supported, at Caddyfile:3"},
		{"format filter {\nf replace\n}", args + "'replace'"},
		{"format filter {\nf rename a b\n}", args + "'b'"},
		{"format filter {\nf ip_mask 1 2 3\n}", args + "'3'"},
		{"format filter {\nf ip_mask x\n}", "invalid integer 'x', at Caddyfile:3"},
		{"format filter {\nf ip_mask {\nipv5 1\n}\n}", "unrecognized subdirective ipv5"},
		{"format filter {\nf query {\nreplace a\n}\n}", args + "'a', at Caddyfile:4"},
		{"format filter {\nf cookie {\nmask a\n}\n}", "unrecognized subdirective mask, at Caddyfile:4"},
		{"format filter {\nf regexp a\n}", args + "'a'"},
		{"format filter {\nf multi_regexp\n}", "multi_regexp has 0 operations; 1 to 50 are right"},
		{"format filter {\nf multi_regexp {\nregexp " + strings.Repeat("x", 1001) + " y\n}\n}", "the expression has 1001 bytes; 1 to 1000 are right"},
		{"format append {\na b c\n}", args + "'c'"},
		{"format append {\na\n}", args + "'a'"},
		{"format append {\nfields {\na {\nb\n}\n}\n}", args + "'a'"},
		{"format journald {\nfields {\na b\n}\n}", "unrecognized subdirective fields, at Caddyfile:3"},
	}
	for _, tt := range tests {
		w, _, err := readLog(t, logs.Global, "log {\n"+tt.text+"\n}")
		if err == nil {
			t.Errorf("%s: no error, but %s", tt.text, w.Log.AppendJSON(nil))
		} else if !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s\n got %v\nwant %s", tt.text, err, tt.want)
		}
	}
}
