package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// Binary is the path of the Caddy under test: $ASSISTANT_CADDY, or else the one that make builds.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := findBinary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var findBinary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("ASSISTANT_CADDY"); path != "" {
		return path, nil
	}
	root, err := findRoot()
	if err != nil {
		return "", err
	}
	if out, err := exec.Command("make", "-C", root, "build").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build caddy: %w\n%s", err, out)
	}
	return filepath.Join(root, "caddy"), nil
})

// Root is the folder of the repository.
func Root(t testing.TB) string {
	t.Helper()
	root, err := findRoot()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

var findRoot = sync.OnceValues(func() (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "xcaddy.json")); err == nil {
			return folder, nil
		}
		if folder == filepath.Dir(folder) {
			return "", errors.New("find the repository: no xcaddy.json in any folder above")
		}
	}
})
