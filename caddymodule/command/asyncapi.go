package command

import (
	"os"

	"github.com/caddy-assistant/caddy-assistant/asyncapi"
	"github.com/caddy-assistant/caddy-assistant/caddymodule/docs"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

func asyncAPICommand() *cobra.Command {
	cmd := command("asyncapi", "Prints the AsyncAPI document of a configuration", runAsyncAPI)
	cmd.Long = cmd.Short + `, as a server
with this configuration serves it. It needs no server and none of the configuration's
secrets, so that a build can run it for client generators.

The document is that of the site with the asyncapi directive or, if there is none, of
the first site with an assistant. Give --server if that site has no name.`
	cmd.Flags().StringP("config", "c", "", "Configuration file (required)")
	cmd.Flags().StringP("adapter", "a", "", "Name of its adapter")
	cmd.Flags().String("server", "", "Where clients reach the site, such as wss://chat.example.com")
	cmd.Flags().String("format", "json", "json or yaml")
	cmd.Flags().String("view", "server", "server, or client for client generators")
	cmd.Flags().String("channel", "", "Name of the assistant handler to which the document is limited")
	return cmd
}

func runAsyncAPI(fl caddycmd.Flags) (int, error) {
	if fl.String("config") == "" {
		return exit(misuse("a configuration file is missing: give --config Caddyfile"))
	}
	config, _, _, err := caddycmd.LoadConfig(fl.String("config"), fl.String("adapter"))
	if err != nil {
		return exit(err)
	}
	found, err := docs.FindMounted(config)
	if err != nil {
		return exit(err)
	}
	api, err := found.API(fl.String("server"), fl.String("channel"))
	if err != nil {
		return exit(err)
	}
	text, err := render(api, fl.String("format"), asyncapi.View(fl.String("view")))
	if err != nil {
		return exit(err)
	}
	_, err = os.Stdout.Write(text)
	return exit(err)
}

func render(api asyncapi.API, format string, view asyncapi.View) ([]byte, error) {
	if view != asyncapi.ServerView && view != asyncapi.ClientView {
		return nil, misuse("view: expected server or client, found %q", view)
	}
	document, err := asyncapi.Build(api, view)
	switch {
	case err != nil:
		return nil, err
	case format == "json":
		return document.JSON(), nil
	case format == "yaml":
		return document.YAML()
	}
	return nil, misuse("format: expected json or yaml, found %q", format)
}
