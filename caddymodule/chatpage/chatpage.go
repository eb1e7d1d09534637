// Package chatpage is the built-in chat page as a module of Caddy's file server.
package chatpage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/caddy-assistant/caddy-assistant/caddymodule/internal/setting"
	"github.com/caddy-assistant/caddy-assistant/webchat"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func init() { caddy.RegisterModule(ChatPage{}) }

// ChatPage is the built-in chat page as a file system, to be served by file_server:
//
//	{
//		filesystem assistant_chat assistant_chat
//	}
//	example.com {
//		file_server {
//			fs assistant_chat
//		}
//	}
type ChatPage struct {
	fs.FS `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (ChatPage) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.fs.assistant_chat", New: func() caddy.Module { return &ChatPage{builtFS{webchat.Files}} }}
}

// UnmarshalCaddyfile reads the name; the file system has no settings.
func (*ChatPage) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return setting.Table{}.Read(d, "filesystem assistant_chat")
}

// builtFS gives embedded files, which have no modification time, that of the running program. file_server makes ETags
// of it, so they change with every upgrade.
type builtFS struct{ fs.FS }

func (b builtFS) Open(name string) (fs.File, error) {
	f, err := b.FS.Open(name)
	if err != nil {
		return nil, err
	}
	return builtFile{f}, nil
}

// builtFile is an embedded file or folder, with the abilities that file_server looks for.
type builtFile struct{ fs.File }

func (f builtFile) Stat() (fs.FileInfo, error) {
	info, err := f.File.Stat()
	if err != nil {
		return nil, err
	}
	return builtInfo{info}, nil
}

func (f builtFile) Seek(offset int64, whence int) (int64, error) {
	if s, ok := f.File.(interface {
		Seek(int64, int) (int64, error)
	}); ok {
		return s.Seek(offset, whence)
	}
	return 0, fmt.Errorf("seek: %w", errors.ErrUnsupported)
}

func (f builtFile) ReadDir(n int) ([]fs.DirEntry, error) {
	if d, ok := f.File.(fs.ReadDirFile); ok {
		return d.ReadDir(n)
	}
	return nil, fmt.Errorf("read folder: %w", errors.ErrUnsupported)
}

type builtInfo struct{ fs.FileInfo }

func (builtInfo) ModTime() time.Time { return built() }

// built returns when the running program was written to disk. If that is unknown it returns the zero Unix time, for
// which file_server makes no ETag.
func built() time.Time {
	path, err := os.Executable()
	if err != nil {
		return time.Unix(0, 0)
	}
	info, err := os.Stat(path)
	if err != nil {
		return time.Unix(0, 0)
	}
	return info.ModTime()
}

var (
	_ fs.FS                 = (*ChatPage)(nil)
	_ caddyfile.Unmarshaler = (*ChatPage)(nil)
)
