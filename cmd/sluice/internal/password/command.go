package password

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// Command is the command hash-password.
func Command(stdin io.Reader, stdout, stderr io.Writer) *cobra.Command {
	var h Hash
	var plaintext string
	cmd := &cobra.Command{
		Use: "hash-password", Short: "Hash a password", Args: cobra.NoArgs,
		Long: `Hashes a password for a config file and prints the hash. The password is asked for
on a terminal, or read as one line from standard input. --plaintext shows it to
whoever can list processes or read the history of the shell.`,
		Example: `  sluice hash-password
  sluice hash-password --algorithm argon2id < password.txt`,
		RunE: func(*cobra.Command, []string) error {
			if err := h.Check(); err != nil {
				return err
			}
			text := []byte(plaintext)
			if len(text) == 0 {
				var err error
				if text, err = Ask(stdin, stderr); err != nil {
					return err
				}
			}
			sum, err := h.Sum(text)
			if err != nil {
				return err
			}
			fmt.Fprintln(stdout, sum)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&plaintext, "plaintext", "p", "", "the password, if it is not to be asked for")
	f.StringVarP(&h.Algorithm, "algorithm", "a", "bcrypt", "bcrypt or argon2id")
	_ = cmd.RegisterFlagCompletionFunc("algorithm", cobra.FixedCompletions([]string{"bcrypt", "argon2id"}, cobra.ShellCompDirectiveNoFileComp))
	f.IntVar(&h.Cost, "bcrypt-cost", DefaultBcryptCost, "cost of bcrypt, from 4 to 31")
	f.Uint32Var(&h.Argon2id.Time, "argon2id-time", 1, "passes of argon2id")
	f.Uint32Var(&h.Argon2id.Memory, "argon2id-memory", 47104, "memory of argon2id in KiB")
	f.Uint8Var(&h.Argon2id.Threads, "argon2id-threads", 1, "threads of argon2id")
	f.Uint32Var(&h.Argon2id.KeyLen, "argon2id-keylen", 32, "length of the key of argon2id in bytes")
	return cmd
}
