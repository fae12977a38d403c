package engine

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
)

func TestChoose_KeepsWhatIsWantedWithNamesBelowTheFolder(t *testing.T) {
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	for _, head := range []tar.Header{
		{Name: "assets/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "assets/app-1.css", Size: 3, Mode: 0o640, Uid: 7},
		{Name: "assets/manifest", Size: 3},
		{Name: "assets/new/", Typeflag: tar.TypeDir},
		{Name: "assets/new/a b", Size: 3},
		{Name: "assets/new/again", Typeflag: tar.TypeLink, Linkname: "assets/app-1.css"},
		{Name: "assets/new/lost", Typeflag: tar.TypeLink, Linkname: "assets/manifest"},
		{Name: "assets/sym", Typeflag: tar.TypeSymlink, Linkname: "app-1.css"},
	} {
		if err := errors.Join(w.WriteHeader(&head), write(w, head.Size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var chosen bytes.Buffer
	left, err := choose(&packed, &chosen, func(name string) bool { return name != "manifest" })
	if err != nil || !slices.Equal(left, []string{"new/lost"}) {
		t.Errorf("got left %q, %v", left, err)
	}
	var got []string
	r := tar.NewReader(&chosen)
	for {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, head.Name+" "+head.Linkname)
		if head.Name == "app-1.css" && (head.Uid != 7 || head.Mode != 0o640 || head.Size != 3) {
			t.Errorf("got %+v, want its owner, mode and size kept", head)
		}
	}
	if want := []string{"app-1.css ", "new ", "new/a b ", "new/again app-1.css", "sym app-1.css"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func write(w io.Writer, size int64) error {
	_, err := w.Write(bytes.Repeat([]byte("x"), int(size)))
	return err
}
