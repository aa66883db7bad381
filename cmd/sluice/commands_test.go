package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluiceproxy/sluice/cmd/sluice/internal/about"
	"github.com/spf13/cobra"
)

func TestCommandLine(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.write("good.json", `{"apps": {"http": {"http_port": 81.0}}}`)
	b.write("dup.json", `{"apps":{"http":{"servers":{}}},"apps":{}}`)
	b.write("noapp.json", `{"apps":{"http.handlers.headers":{}}}`)
	b.write("typo.json", `{"apps":{"http":{"http_prt":80}}}`)
	b.write("bad.caddyfile", ":80 {\n\trespnd hi\n}\n")
	for _, c := range []struct {
		args           string
		code           int
		stdout, stderr string // parts
	}{
		{"", 0, "\nServe in one line:\n", ""},
		{"help", 0, "\nSteer what runs:\n", ""},
		{"-h", 0, "\nTools:\n", ""},
		{"--help", 0, "\nCertificates:\n", ""},
		{"help run", 0, "--best-effort", ""},
		{"bogus", 1, "", "Error: unknown command \"bogus\" for \"sluice\"\nRun 'sluice --help' for usage.\n"},
		{"run --bogus", 1, "", "Error: unknown flag: --bogus\n"},
		{"run -config x", 1, "", "Error: unknown command \"x\" for \"sluice run\""}, // -c onfig
		{"version", 0, versionText() + "\n", ""},
		{"--version", 0, versionText() + "\n", ""},
		{"-v", 0, versionText() + "\n", ""},
		{"build-info", 0, "go\tgo1.", ""},
		{"environ", 0, "sluice.HomeDir=" + b.dir + "\nsluice.AppDataDir=" + b.dir + "/d/sluice\nsluice.AppConfigDir=" + b.dir + "/c/sluice\nsluice.ConfigAutosavePath=" + b.dir + "/c/sluice/autosave.json\n", ""},
		{"completion bash", 0, "__start_sluice", ""},
		{"completion zsh", 0, "#compdef sluice", ""},
		{"completion fish", 0, "complete -c sluice", ""},
		{"completion powershell", 0, "Register-ArgumentCompleter", ""},
		{"completion tcsh", 1, "", "Error: invalid argument \"tcsh\" for \"sluice completion\"\n"},
		{"completion", 1, "", "Error: accepts 1 arg(s), received 0\n"},
		{"manpage", 3, "", `"level":"error"`},
		{"manpage -o man", 0, "", ""},
		{"list-modules", 0, "\nhttp.handlers.reverse_proxy\n", ""},
		{"list-modules --packages --versions", 0, "http.handlers.reverse_proxy " + versionText() + " github.com/sluiceproxy/sluice/handlers/reverseproxy\n", ""},
		{"list-modules -s", 0, "  Standard modules: ", ""},
		{"schema", 0, `"$schema": "https://json-schema.org/draft/2020-12/schema"`, ""},
		{"schema http.handlers.reverse_proxy", 0, `"upstreams"`, ""},
		{"schema http.handlers.reverse_prox", 1, "", "did you mean http.handlers.reverse_proxy?"},
		{"adapt", 1, "", "input file required when there is no Caddyfile in current directory (use --config flag)"},
		{"adapt -c good.json -a json", 0, `{"apps":{"http":{"http_port":81.0}}}` + "\n", ""},
		{"adapt -c good.json -a json -p", 0, "{\n\t\"apps\": {\n", ""},
		{"adapt -c good.json --adapter x", 1, "", "unrecognized config adapter: x"},
		{"adapt -c dup.json --adapter json", 0, "{", `"level":"warn"`},
		{"adapt -c bad.json -a json --validate", 1, `{"nope":1}`, `"msg":"validation: `},
		{"adapt -c good.json", 1, "", "it is JSON: read it with --adapter json"},
		{"adapt -a json", 1, "", "input file required when there is no Caddyfile in current directory (use --config flag)"},
		{"validate", 1, "", "input file required when there is no Caddyfile in current directory (use --config flag)"},
		{"validate -a json", 1, "", "cannot adapt config without config file (use --config)"},
		{"adapt -c bad.caddyfile", 1, "", "adapting config using caddyfile: bad.caddyfile:2: unrecognized directive: respnd"},
		{"validate -c bad.caddyfile", 1, "", "did you mean 'respond'?"},
		{"validate -c noapp.json -a json", 1, "", "/apps/http.handlers.headers (line 1, column 34): module http.handlers.headers is not an app (expected: one of http, "},
		{"validate -c typo.json -a json", 1, "", `did you mean \"http_port\"?","problems":[{"pointer":"/apps/http/http_prt","line":1,"column":29,"file":"typo.json","message":"unknown field \"http_prt\"","found":"http_prt","expected":"one of `},
		{"stop -c bad.caddyfile", 1, "", "unrecognized directive: respnd"},
		{"fmt none", 1, "", "reading the Caddyfile: open none: no such file or directory"},
		{"fmt", 1, "", "reading the Caddyfile: open Caddyfile: no such file or directory"},
		{"fmt a b", 1, "", "fmt does not support multiple files: name one (got a b)"},
		{"fmt -c a b", 1, "", "fmt does not support multiple files: name one (got a b)"},
		{"respond a b", 1, "", "too many unflagged arguments"},
		{"respond -s 300 -b x c", 1, "", `unflagged argument \"c\" is overridden by flags`},
		{"respond -H x", 1, "", `header 0: invalid format \"x\" (expecting \"Field: value\")`},
		{"respond -b {{.Foo}}", 1, "", "can't evaluate field Foo"},
		{"respond -l :x", 1, "", "parsing the listen address"},
		{"respond -s 1000", 1, "", "--status is 1000; it must be from 100 to 999"},
		{"reverse-proxy", 1, "", "--to is required"},
		{"reverse-proxy -f https://:1 --to a", 1, "", "--from https://:1 is HTTPS for no name, and a certificate needs one; write --from https://localhost:1"},
		{"reverse-proxy -f :1/x --to a", 1, "", "paths are not allowed: :1/x"},
		{"reverse-proxy -f ftp://a --to a", 1, "", "unsupported URL scheme ftp://"},
		{"file-server -p br -p foo", 1, "", "getting module named 'http.precompressed.foo': module not registered: http.precompressed.foo; --precompressed takes br, gzip, zstd"},
		{"file-server --domain https://a.example", 1, "", "--domain https://a.example is no name"},
		{"file-server x", 1, "", "Error: unknown command \"x\" for \"sluice file-server\""},
		{"file-server export-template", 0, "<!DOCTYPE html>", ""},
		{"upgrade", 1, "", "sluice does not replace itself: nobody builds it on demand; install the newer version with the package manager"},
		{"upgrade -k", 1, "", "install the newer version"},
		{"add-package a.example/b@v1 a.example/c --keep-backup", 1, "", "sluice cannot add a.example/b@v1, a.example/c to itself: nobody builds it on demand"},
		{"remove-package -k a.example/b", 1, "", "sluice cannot remove a.example/b from itself: nobody builds it on demand"},
		{"hash-password -a md5", 1, "", "unrecognized hash algorithm: md5"},
		{"hash-password -a argon2id --argon2id-time 0", 1, "", "--argon2id-time is 0"},
		{"hash-password --bcrypt-cost 4 -p x", 0, "$2a$04$", ""},
		{"hash-password -a argon2id --argon2id-memory 64 --argon2id-threads 2 --argon2id-keylen 16 --argon2id-time 3 -p x", 0, "$argon2id$v=19$m=64,t=3,p=2$", ""},
		{"__complete adapt --adapter c", 0, "caddyfile\njson\n:4\n", "ShellCompDirectiveNoFileComp"},
		{"__complete file-server --precompressed z", 0, "br\nzstd\ngzip\n:4\n", "ShellCompDirectiveNoFileComp"},
		{"__complete file-server --root x", 0, ":16\n", "ShellCompDirectiveFilterDirs"},
		{"__complete schema http.handlers.file_s", 0, "http.handlers.file_server\n", "ShellCompDirectiveNoFileComp"},
		{"__complete file-server e", 0, "export-template\tPrint the page that lists directories\n:4\n", "ShellCompDirectiveNoFileComp"},
		{"__complete storage i", 0, "import\t", "ShellCompDirectiveNoFileComp"},
		{"__complete rollback x", 0, ":4\n", "ShellCompDirectiveNoFileComp"},
		{"__complete fmt x", 0, ":0\n", "ShellCompDirectiveDefault"},
		{"__complete run x", 0, ":4\n", "ShellCompDirectiveNoFileComp"},
		{"__complete hash-password --algorithm b", 0, "bcrypt\nargon2id\n:4\n", "ShellCompDirectiveNoFileComp"},
		{"reload -a caddyfile", 1, "", "cannot adapt config without config file (use --config)"},
		{"validate -c good.json", 0, "Valid configuration\n", ""},
		{"validate -c bad.json", 1, "", "nope"},
		{"validate -c empty.json", 0, "Valid configuration\n", ""},
		{"validate -c ids.json", 1, "", "same"},
		{"validate -c none.json", 1, "", "reading config from file: open none.json: no such file or directory"},
		{"validate -c text.json", 1, "", "config is not valid JSON: "},
		{"validate -c text.json", 1, "", "did you mean to use a config adapter (the --adapter flag)?"},
		{"reload", 1, "", `"msg":"no config file to load"`},
		{"stop", 1, "", "connection refused"},
		{"stop --address localhost:1-2", 1, "", "not a range"},
		{"stop --address fd/3", 1, "", "--address"},
		{"history", 1, "", "no instance runs, and there is no store"},
		{"history --store none", 1, "", "without a store"},
		{"history -n 0", 1, "", "from 1 to 1000"},
		{"rollback", 1, "", "Error: accepts 1 arg(s), received 0"},
		{"rollback x", 1, "", "not the number of a revision"},
		{"run --envfile bad.env", 1, "", "line 1"},
		{"run --envfile none.env", 1, "", "no such file"},
		{"start --config bad.json", 1, "", "sluice process exited with error: exit status 1"},
		{"start --config -", 1, "", "standard input"},
	} {
		b.write("bad.json", `{"nope":1}`)
		b.write("empty.json", "")
		b.write("bad.env", "NOPE")
		b.write("text.json", "hello")
		b.write("ids.json", `{"apps":{"http":{"servers":{"a":{"@id":"same"},"b":{"@id":"same"}}}}}`)
		r := b.run(strings.Fields(c.args)...)
		if r.code != c.code || !strings.Contains(r.stdout, c.stdout) || !strings.Contains(r.stderr, c.stderr) {
			t.Errorf("%s: code %d, want %d\nstdout %q\nwant   %q\nstderr %q\nwant   %q", c.args, r.code, c.code, r.stdout, c.stdout, r.stderr, c.stderr)
		}
		if strings.HasPrefix(c.args, "help ") || c.stderr != "" || c.args == "" {
			continue
		}
		if r.stderr != "" && c.code == 0 {
			t.Errorf("%s: says on stderr: %s", c.args, r.stderr)
		}
	}
	for _, page := range []string{"", "-run", "-file-server", "-file-server-export-template", "-reverse-proxy", "-api", "-diff", "-storage-export", "-upgrade", "-add-package", "-remove-package"} {
		if text, err := os.ReadFile(filepath.Join(b.dir, "man/sluice"+page+".8")); err != nil || !strings.HasPrefix(string(text), ".nh\n.TH \"SLUICE\" \"8\"") {
			t.Errorf("manual page %s: %v %.40q", page, err, text)
		}
	}
}

func TestEveryCommandHasHelpAndAnExample(t *testing.T) {
	root := thisProgram().newRoot()
	var look func(list []*cobra.Command)
	look = func(list []*cobra.Command) {
		for _, cmd := range list {
			if cmd.Name() == "help" {
				continue
			}
			if cmd.Short == "" || cmd.Long == "" || !strings.Contains(cmd.Example, cmd.CommandPath()) {
				t.Errorf("%s lacks help or an example", cmd.CommandPath())
			}
			if cmd.Parent() == root && cmd.GroupID == "" {
				t.Errorf("%s is in no group", cmd.Name())
			}
			look(cmd.Commands())
		}
	}
	look(root.Commands())
}

func TestReadsTheConfigFromStdin(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	if r := b.runWith(`{ "apps": {} }`, "adapt", "--config", "-", "--adapter", "json"); r.stdout != "{\"apps\":{}}\n" {
		t.Errorf("%+v", r)
	}
	if r := b.runWith(`{"nope":1}`, "validate", "--config", "-"); r.code != 1 {
		t.Errorf("%+v", r)
	}
}

func TestListModulesJSON(t *testing.T) {
	t.Parallel()
	var list []about.Module
	if err := json.Unmarshal([]byte(newBox(t).ok("list-modules", "--json").stdout), &list); err != nil || len(list) < 20 {
		t.Fatalf("%v %v", err, list)
	}
	for _, m := range list {
		if m.Name == "" || m.Type != "standard" || m.Version == "" || m.Package == "" {
			t.Errorf("%+v", m)
		}
		if m.Name == "http.server" || m.Name == "sluice.admin" {
			t.Errorf("%s cannot be named in a document", m.Name)
		}
	}
}

func TestStartReloadStop(t *testing.T) {
	t.Parallel()
	b, p := newBox(t), port(t)
	file := b.write("s.json", document("a", site(p, "one")))
	pid := filepath.Join(b.dir, "pid")
	r := b.ok("start", "--config", file, "--pidfile", pid, "--envfile", b.write("e.env", "X=1"))
	text, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	defer func() {
		if !stopped {
			b.run("stop")
		}
	}()
	if want := "Successfully started sluice (pid=" + strings.TrimSpace(string(text)) + ") - sluice is running in the background\n"; r.stdout != want {
		t.Errorf("start says %q, want %q", r.stdout, want)
	}
	b.says(p, "one")
	b.write("s.json", document("a", site(p, "two")))
	b.ok("reload", "--config", file)
	b.says(p, "two")
	b.write("s.json", `{"nope":1}`)
	b.fails("sluice responded with error: HTTP 400: {", "reload", "--config", file)
	b.says(p, "two")
	if n := b.revision(); n != 2 {
		t.Errorf("revision %d", n)
	}
	b.write("s.json", document("a", site(p, "two")))
	b.ok("reload", "--config", file, "--force")
	// A second one on the same store cannot start, and says so.
	b.fails("exit status 1", "start")
	b.ok("stop", "--config", file)
	stopped = true
	eventually(t, "end of the background process", func() bool {
		_, err := os.Stat(pid)
		return err != nil
	})
}

func TestHistoryAndRollbackWithoutAnInstance(t *testing.T) {
	t.Parallel()
	b, p := newBox(t), port(t)
	store := filepath.Join(b.dir, "s.db")
	b.setenv("SLUICE_STORE", store)
	c := b.up()
	b.does("POST", "/load", document("a", site(p, "one")))
	b.does("PATCH", bodyPath, `"two"`)
	running := b.ok("history", "--json").stdout
	c.term()
	idle := b.ok("history", "--json").stdout
	if running != idle {
		t.Errorf("the running instance says\n%s\nits store\n%s", running, idle)
	}
	b.unsetenv("SLUICE_STORE")
	if r := b.ok("history", "--store", store, "-n", "1"); !strings.Contains(r.stdout, "PATCH "+strings.TrimPrefix(bodyPath, "/config")) || strings.Count(r.stdout, "\n") != 2 {
		t.Errorf("history:\n%s", r.stdout)
	}
	b.fails("not found", "rollback", "9", "--store", store)
	if r := b.ok("rollback", "2", "--store", store); !strings.Contains(r.stdout, "nothing to do") {
		t.Errorf("rollback says %q", r.stdout)
	}
	if r := b.ok("rollback", "1", "--store", store); !strings.Contains(r.stdout, "revision 3") {
		t.Errorf("rollback says %q", r.stdout)
	}
	c = b.up("--store", store)
	b.says(p, "one")
	if n := b.revision(); n != 3 {
		t.Errorf("revision %d", n)
	}
	b.fails("HTTP 404", "rollback", "9")
}

func TestUnixAdminSocketAndToken(t *testing.T) {
	t.Parallel()
	b, p := newBox(t), port(t)
	dir, err := os.MkdirTemp("", "sa") // a unix socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "a.sock")
	b.write("token", "0123456789abcdef0123\n")
	file := b.write("s.json", strings.Replace(document("a", site(p, "one")), "{",
		fmt.Sprintf(`{"admin":{"listen":"unix/%s|0600","tokens":[{"file":"token"}]},`, socket), 1))
	c := b.up("--config", file)
	info, err := os.Stat(socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("socket: %v %v", info, err)
	}
	b.fails("HTTP 401", "reload", "--config", file)
	b.setenv("SLUICE_TOKEN", "0123456789abcdef0123")
	b.ok("reload", "--config", file)
	b.ok("history", "--address", "unix/"+socket+"|0600")
	b.ok("stop", "--config", file)
	c.exits(0)
}

func TestFirstSteps(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	c := b.up("--first-steps")
	eventually(t, "the last of the first steps", func() bool { return strings.Contains(c.stdout.String(), "Ctrl-C") })
	out := c.stdout.String()
	if !strings.Contains(out, b.admin) || !strings.Contains(out, filepath.Join(b.dir, "d/sluice/sluice.db")) {
		t.Errorf("first steps lack the admin address or the store:\n%s", out)
	}
	var answers []string
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "curl ") {
			answers = append(answers, curl(t, line))
		}
	}
	if len(answers) != 4 || answers[1] != "Hello from sluice!\n" || !strings.Contains(answers[3], `"verb":"PATCH"`) {
		t.Errorf("the commands answer %q", answers)
	}
	c.term()
	c = b.up("--first-steps")
	eventually(t, "the first steps", func() bool { return strings.Contains(c.stdout.String(), "served last") })
}

// curl carries out a curl command.
func curl(t *testing.T, line string) string {
	t.Helper()
	var words []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	r, err := http.NewRequest("GET", words[1], nil)
	if err != nil {
		t.Fatal(err)
	}
	body := ""
	for i := 2; i < len(words); i += 2 {
		switch words[i] {
		case "-H":
			key, value, _ := strings.Cut(words[i+1], ": ")
			r.Header.Set(key, value)
		case "-X":
			r.Method = words[i+1]
		case "-d":
			if body = words[i+1]; r.Method == "GET" {
				r.Method = "POST"
			}
		default:
			t.Fatalf("unknown flag in %s", line)
		}
	}
	status, text := fetch(t, r.Method, words[1], body)
	if status != 200 || (body != "" && r.Header.Get("Content-Type") != "application/json") {
		t.Errorf("%s: %d %s", line, status, text)
	}
	return text
}

func TestWatch(t *testing.T) {
	t.Parallel()
	b, p := newBox(t), port(t)
	file := b.write("s.json", document("a", site(p, "one")))
	c := b.up("--config", file, "--watch")
	c.logged("watching config file for changes")
	b.write("s.json", `{"apps`) // half-written
	c.logged("watching goes on")
	os.Remove(file)
	c.logged("no such file")
	b.write("s.json", `{"nope":1}`)
	c.logged("applying latest config")
	b.says(p, "one")
	b.write("s.json", document("a", site(p, "two")))
	eventually(t, "the watcher", func() bool {
		_, got := fetch(t, "GET", fmt.Sprintf("http://127.0.0.1:%d/", p), "")
		return got == "two"
	})
	c.term()
	c = b.up("--watch")
	c.logged("there is no config file to watch")
}

func TestEnvironmentFilesReachTheConfig(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	p := port(t)
	b.write("a.env", fmt.Sprintf("PORT=%d\nWHO=a\n", p))
	b.write("b.env", "WHO=b\nSET=no\n")
	b.setenv("SET", "yes")
	file := b.write("s.json", document("a", fmt.Sprintf(`{"listen":["127.0.0.1:{env.PORT}"],"routes":[{"handle":[{"handler":"static_response","body":"{env.WHO} {env.SET}"}]}]}`)))
	c := b.up("--config", file, "--envfile", "a.env,b.env", "--environ")
	b.says(p, "a yes")
	if out := c.stdout.String(); !strings.HasPrefix(out, "sluice.HomeDir=") || !strings.Contains(out, "\nWHO=a\n") {
		t.Errorf("--environ prints %s", out)
	}
	b.fails("PORT", "validate", "--config", file)
	b.ok("validate", "--config", file, "--envfile", "a.env")
}

func TestReloadMetrics(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.up()
	b.does("POST", "/load", `{"apps":{}}`)
	if text := b.does("GET", "/metrics", ""); !strings.Contains(text, "\nsluice_config_last_reload_successful 1\n") || strings.Contains(text, "success_timestamp_seconds 0\n") {
		t.Error("a load is not counted as a success")
	}
	b.call("POST", "/load?dry_run=true", `{"nope":1}`)
	if text := b.does("GET", "/metrics", ""); !strings.Contains(text, "\nsluice_config_last_reload_successful 1\n") {
		t.Error("a dry run counts")
	}
	b.call("POST", "/load", `{"nope":1}`)
	if text := b.does("GET", "/metrics", ""); !strings.Contains(text, "\nsluice_config_last_reload_successful 0\n") {
		t.Error("a refused load is not counted as a failure")
	}
}
