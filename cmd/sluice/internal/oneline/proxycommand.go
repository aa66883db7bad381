package oneline

import (
	"github.com/spf13/cobra"
	"go.uber.org/zap"
)

func (p Program) proxyCommand() *cobra.Command {
	var o Proxy
	cmd := &cobra.Command{
		Use: "reverse-proxy", Short: "Start a proxy in front of some upstreams", Args: cobra.NoArgs,
		Long: `Starts a proxy that passes requests to --from on to the upstreams in --to.

An address in --from that has a host is served over HTTPS, unless it begins with
http:// or its port is 80. The certificate comes from a public authority; for
localhost and other internal names, and for every name with --internal-certs, from
one of this machine, whose root is put into the trust stores. Requests that come
over HTTP are redirected, for which port 80 is opened as well; --disable-redirects
leaves that out.

Upstreams are [SCHEME://]HOST[:PORT], where the port may be a range, or
unix//PATH. With https:// they are spoken to over TLS.

There is no admin endpoint, and nothing is kept but certificates.`,
		Example: `  sluice reverse-proxy --from :8080 --to localhost:9000
  sluice reverse-proxy --to :9000
  sluice reverse-proxy --from example.com --to 10.0.0.1:80,10.0.0.2:80
  sluice reverse-proxy --from app.internal:8443 --internal-certs --disable-redirects --to unix//run/app.sock
  sluice reverse-proxy --from :8080 --to https://localhost:9443 --insecure --change-host-header
  sluice reverse-proxy --from :8080 --to localhost:9000 --header-up "X-Via: sluice" --header-down "X-Via: sluice"`,
		RunE: func(*cobra.Command, []string) error {
			doc, addresses, err := o.Document()
			if err != nil {
				return err
			}
			return p.Run(doc, func(s Running) error {
				log := s.Logger()
				tell(log, addresses.Notes)
				log.Info(name+" proxying", zap.String("from", addresses.From), zap.Strings("to", addresses.To))
				if len(addresses.To) > 1 {
					log.Info("using default load balancing policy", zap.String("name", "round_robin"))
				}
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.From, "from", "f", "localhost", "address to receive requests at")
	f.StringSliceVarP(&o.To, "to", "t", nil, "address of an upstream; may be repeated")
	f.BoolVarP(&o.ChangeHostHeader, "change-host-header", "c", false, "set the Host header to the address of the upstream")
	f.BoolVar(&o.Insecure, "insecure", false, "do not verify the certificates of upstreams")
	f.BoolVarP(&o.DisableRedirects, "disable-redirects", "r", false, "no redirects from HTTP to HTTPS")
	f.BoolVarP(&o.InternalCerts, "internal-certs", "i", false, "use a certificate of this machine's own authority")
	f.StringArrayVarP(&o.HeaderUp, "header-up", "H", nil, `header field to set in requests to upstreams, as "Field: value"; may be repeated`)
	f.StringArrayVarP(&o.HeaderDown, "header-down", "d", nil, `header field to set in answers, as "Field: value"; may be repeated`)
	f.BoolVar(&o.AccessLog, "access-log", false, accessLogUsage)
	debugFlag(cmd, &o.Debug)
	return cmd
}
