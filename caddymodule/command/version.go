package command

import (
	"fmt"
	"runtime"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// Version is the version of this module, as CHANGELOG.md and its tag have it.
const Version = "v0.1.0"

func versionCommand() *cobra.Command {
	return command("version", "Prints the versions of the assistant, of Caddy and of Go", func(caddycmd.Flags) (int, error) {
		fmt.Println(versionText())
		return exit(nil)
	})
}

func versionText() string {
	of, _ := caddy.Version()
	return fmt.Sprintf("caddy-assistant %s, Caddy %s, %s", Version, of, runtime.Version())
}
