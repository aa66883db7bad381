package logs_test

import (
	"testing"

	"github.com/sluiceproxy/sluice/config/adapt/adapttest"
)

// TestLogsOfCaddyfiles: the log of the options and that of a site in a document.
func TestLogsOfCaddyfiles(t *testing.T) {
	adapttest.Same(t, adapttest.Full(t, `{
	log ops {
		output stderr
		format json {
			message_key text
			time_key ""
		}
		include admin
	}
}
http://a.test {
	log shop {
		level ERROR
		sampling {
			interval 2s
		}
		format console {
			time_local
		}
	}
}
`), `{"logging":{"logs":{
	"default":{"exclude":["admin","http.log.access.shop"]},
	"ops":{"writer":{"output":"stderr"},"encoder":{"format":"json","message_key":"text","time_key":""},"include":["admin"]},
	"shop":{"encoder":{"format":"console","time_local":true},"level":"ERROR","sampling":{"interval":2000000000},"include":["http.log.access.shop"]}}},
	"apps":{"http":{"servers":{"srv0":{"listen":[":80"],"routes":[{"match":[{"host":["a.test"]}],"terminal":true}],"logs":{"logger_names":{"a.test":["shop"]}}}}}}}`)
	adapttest.Fails(t, "{\n\tlog {\n\t\toutput stdout\n\t\toutput stderr\n\t}\n}\n", "'output' subdirective specified more than once in the same log block, at Caddyfile:4")
	adapttest.Fails(t, ":80 {\n\tlog {\n\t\texclude a\n\t}\n}\n", "exclude is not allowed in the log directive, at Caddyfile:3")
	adapttest.Fails(t, "{\n\tlog a {\n\t\thostnames b\n\t}\n}\n", "hostnames is not allowed in the log global options, at Caddyfile:3")
}
