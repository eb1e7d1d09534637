package assistant

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// What a [Files] store returns besides what breaks.
var (
	// ErrFileGone says that a question uses a file that the owner does not have, or that another message uses.
	ErrFileGone = errors.New("file is gone")
	// ErrFileInUse says that a message uses the file.
	ErrFileInUse = errors.New("file is in use")
	// ErrQuota says that the files of an owner would be larger, all together, than they may be.
	ErrQuota = errors.New("quota is used up")
	// ErrNoFiles says that a store is no [Files]. Only what stands in for stores returns it.
	ErrNoFiles = errors.New("store keeps no files")
)

// FilePiece is how many bytes a store returns of a file at once.
const FilePiece = 256 << 10

// File is what is known of a stored file besides its bytes.
type File struct {
	ID        string // random UUID
	MediaType string // such as image/png; never what a client says
	Name      string // for people and models; "" = none is known
	Size      int64  // in bytes
	Width     int    // of an image, in pixels
	Height    int
	Pages     int // of a PDF, counted roughly; 0 = it is none
	CreatedAt time.Time
}

// Part is what a message has that uses the file.
func (f File) Part() Part {
	if strings.HasPrefix(f.MediaType, "image/") {
		return ImagePart{FileID: f.ID, MediaType: f.MediaType, Name: f.Name, Size: f.Size, Width: f.Width, Height: f.Height}
	}
	return FilePart{FileID: f.ID, MediaType: f.MediaType, Name: f.Name, Size: f.Size, Pages: f.Pages}
}

// FileOf returns what a part says of the file that it refers to; ok is false where it refers to none.
func FileOf(p Part) (f File, ok bool) {
	switch p := p.(type) {
	case ImagePart:
		return File{ID: p.FileID, MediaType: p.MediaType, Name: p.Name, Size: p.Size, Width: p.Width, Height: p.Height}, true
	case FilePart:
		return File{ID: p.FileID, MediaType: p.MediaType, Name: p.Name, Size: p.Size, Pages: p.Pages}, true
	}
	return f, false
}

// maxFileName is the longest name of a file, in characters.
const maxFileName = 255

// IsFileName reports whether a file may be called so: in UTF-8, without what separates folders, and without characters that
// do not show or that turn the text around them.
func IsFileName(name string) bool {
	return utf8.ValidString(name) && utf8.RuneCountInString(name) <= maxFileName && !strings.ContainsFunc(name, func(r rune) bool {
		return r == '/' || r == '\\' || unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
	})
}

// Upload is a file on its way into a store.
type Upload struct {
	File
	Data []byte
	// Network is whose quota it counts for where the owner is anonymous; "" for a user.
	Network string
	// Quota is how many bytes all files of the owner, or of the network, may have then; 0 is no limit.
	Quota int64
}

// Files is a Store that also keeps what messages refer to. A file belongs to its owner, and one of another owner is
// [ErrNotFound]. It is unused until [Store.Begin] stores a question that uses it, and goes with that message, however the
// message goes.
//
// assistanttest/storetest.TestFiles checks the whole contract for every implementation.
type Files interface {
	Store
	// AddFile stores a file that no message uses yet, whole or not at all. An id that exists is an error. Where the quota
	// would be exceeded, also by several calls at once, it is ErrQuota. A bounded store may remove other unused files.
	AddFile(ctx context.Context, owner string, u Upload) error
	// File returns what is known of a file, used or not.
	File(ctx context.Context, owner, id string) (File, error)
	// FilePiece returns the bytes of a file from n*FilePiece on, at most FilePiece of them, none behind its end.
	FilePiece(ctx context.Context, owner, id string, n int) ([]byte, error)
	// DeleteFile removes a file that no message uses; one that is used is ErrFileInUse.
	DeleteFile(ctx context.Context, owner, id string) error
	// DeleteUnused removes at most limit files that were stored before t and that no message uses: of the owner, or, where
	// that is "", of any. It returns how many there were.
	DeleteUnused(ctx context.Context, owner string, t time.Time, limit int) (int, error)
}

// FileReader reads a file from a store, a piece at a time: no more than that is in memory. It is for one goroutine.
type FileReader struct {
	ctx   context.Context
	files Files
	owner string
	file  File

	at    int64
	n     int // of piece
	piece []byte
}

// OpenFile returns a file and a reader of its bytes. The reader needs no Close; it ends with ctx.
func OpenFile(ctx context.Context, files Files, owner, id string) (File, *FileReader, error) {
	f, err := files.File(ctx, owner, id)
	if err != nil {
		return f, nil, err
	}
	return f, &FileReader{ctx: ctx, files: files, owner: owner, file: f, n: -1}, nil
}

// Read implements [io.Reader].
func (r *FileReader) Read(p []byte) (int, error) {
	if r.at >= r.file.Size {
		return 0, io.EOF
	}
	if n := int(r.at / FilePiece); n != r.n {
		piece, err := r.files.FilePiece(r.ctx, r.owner, r.file.ID, n)
		if err != nil {
			return 0, err
		}
		r.n, r.piece = n, piece
	}
	n := copy(p, r.piece[min(r.at%FilePiece, int64(len(r.piece))):])
	if n == 0 && len(p) > 0 {
		return 0, io.ErrUnexpectedEOF
	}
	r.at += int64(n)
	return n, nil
}

// Seek implements [io.Seeker].
func (r *FileReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.file.Size
	}
	if offset < 0 {
		return r.at, fmt.Errorf("seek to %d", offset)
	}
	r.at = offset
	return offset, nil
}

var _ io.ReadSeeker = (*FileReader)(nil)
