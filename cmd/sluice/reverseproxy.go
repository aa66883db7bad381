package main

import (
	"github.com/sluiceproxy/sluice/cmd/sluice/internal/oneline"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
)

func (p *program) reverseProxyCommand() *cobra.Command {
	var o oneline.Proxy
	cmd := &cobra.Command{
		Use: "reverse-proxy", Short: "Start a proxy in front of some upstreams", Args: cobra.NoArgs,
		Long: `Starts a proxy that passes requests to --from on to the upstreams in --to. There is
no admin endpoint, and nothing is kept.

An address in --from with a host and without http:// stands for HTTPS, which this
version does not have yet.`,
		Example: `  sluice reverse-proxy --from :8080 --to localhost:9000
  sluice reverse-proxy --from http://example.com --to 10.0.0.1:80,10.0.0.2:80
  sluice reverse-proxy --from :8080 --to localhost:9000 --header-up "X-Via: sluice"`,
		RunE: own(func(*cobra.Command, []string) error {
			doc, addresses, err := o.Document()
			if err != nil {
				return err
			}
			return p.runDocument(doc, func(s *process) error {
				s.log.Info(name+" proxying", zap.String("from", addresses.From), zap.Strings("to", addresses.To))
				if len(addresses.To) > 1 {
					s.log.Info("using default load balancing policy", zap.String("name", "random"))
				}
				return nil
			})
		}),
	}
	f := cmd.Flags()
	f.StringVarP(&o.From, "from", "f", "localhost", "address to receive requests at")
	f.StringSliceVarP(&o.To, "to", "t", nil, "address of an upstream; may be repeated")
	f.BoolVarP(&o.ChangeHostHeader, "change-host-header", "c", false, "set the Host header to the address of the upstream")
	f.BoolVar(&o.Insecure, "insecure", false, "do not verify the certificates of upstreams (not supported yet)")
	f.BoolVarP(&o.DisableRedirects, "disable-redirects", "r", false, "no redirects from HTTP to HTTPS; there are none without HTTPS")
	f.BoolVarP(&o.InternalCerts, "internal-certs", "i", false, "use certificates of the internal authority (not supported yet)")
	f.StringArrayVarP(&o.HeaderUp, "header-up", "H", nil, `header field to set in requests to upstreams, as "Field: value"; may be repeated`)
	f.StringArrayVarP(&o.HeaderDown, "header-down", "d", nil, `header field to set in answers, as "Field: value"; may be repeated`)
	oneLineFlags(cmd, &o.AccessLog, &o.Debug)
	return cmd
}
