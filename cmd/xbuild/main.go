// Command xbuild builds Caddy from a file that holds the JSON of an [xcaddy.Builder].
//
// It exists because the xcaddy command reads no file. Beyond decoding it does what that command does
// for its flags: a replacement by a relative path is taken from the file's folder.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/caddyserver/xcaddy"
)

func main() {
	config := flag.String("config", "xcaddy.json", "`file` with the JSON of xcaddy's Builder")
	output := flag.String("o", "caddy", "`file` to write the binary to")
	flag.Parse()

	// The go commands that xcaddy starts are in this process group: the terminal interrupts them too.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := build(ctx, *config, *output); err != nil {
		log.Fatalf("[FATAL] %v", err)
	}
}

func build(ctx context.Context, config, output string) error {
	builder, err := load(config)
	if err != nil {
		return err
	}
	log.Printf("[INFO] Building Caddy %s from %s to %s", builder.CaddyVersion, config, output)
	return builder.Build(ctx, output)
}

// load decodes config, refusing unknown fields, and makes its relative replacements absolute.
func load(config string) (xcaddy.Builder, error) {
	var builder xcaddy.Builder
	file, err := os.Open(config)
	if err != nil {
		return builder, err
	}
	defer file.Close()
	decoder := json.NewDecoder(file)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&builder); err != nil {
		return builder, fmt.Errorf("decode %s: %w", config, err)
	}
	folder, err := filepath.Abs(filepath.Dir(config))
	if err != nil {
		return builder, fmt.Errorf("locate %s: %w", config, err)
	}
	for i, r := range builder.Replacements {
		if path := r.New.String(); strings.HasPrefix(path, ".") {
			builder.Replacements[i].New = xcaddy.ReplacementPath(filepath.Join(folder, path))
		}
	}
	return builder, nil
}
