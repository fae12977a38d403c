package hosttest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/kstep/kstep/internal/host"
)

// isFileScript reports whether a command is the shell that kstep does files with.
func isFileScript(command string) bool { return strings.HasSuffix(command, " "+host.ScriptName) }

// fileRequests are the requests to that shell, a line each, with the paths that
// are others in the fake. A path outside of the fake's root, and whatever else only
// the SFTP server imitates, makes the request one that the shell does not know.
func (f *Fake) fileRequests(from io.Reader) io.Reader {
	pr, pw := io.Pipe()
	go func() {
		lines := bufio.NewReader(from)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				pw.CloseWithError(err)
				return
			}
			if _, err := io.WriteString(pw, f.fileRequest(strings.TrimSuffix(line, "\n"))+"\n"); err != nil {
				return
			}
		}
	}()
	return pr
}

// diskFull is in front of a request where the disk is full.
const diskFull = "(trap '' XFSZ; ulimit -S -f 0; "

// refusedRequest is one that no shell knows.
const refusedRequest = "false"

func (f *Fake) fileRequest(line string) string {
	mark, rest, _ := strings.Cut(line, " ")
	words := splitWords(rest)
	if !f.mapPaths(words) {
		return mark + " " + refusedRequest
	}
	if f.Mood().DiskFull {
		return mark + " " + diskFull + strings.Join(words, " ") + ")"
	}
	return mark + " " + strings.Join(words, " ")
}

// mapPaths makes the paths among a request's words those of the fake. It reports
// whether all of them may be.
func (f *Fake) mapPaths(words []string) bool {
	files := sftpFiles{f}
	for i, word := range words {
		name := unquote(word)
		if i == 0 || !strings.HasPrefix(name, "/") && !strings.HasPrefix(name, "./") {
			continue
		}
		if !filepath.IsAbs(name) {
			name = filepath.Join(f.home(), name)
		}
		now, err := files.path(name)
		if err != nil || filepath.Base(now) == EndlessFolder {
			return false
		}
		if now != name {
			words[i] = "'" + now + "'"
		}
	}
	return true
}

// fileShell imitates the shell that runs files.sh, in this process: nearly every
// test comes by here, and programs are slow. The suite is passed with a real one
// as well, which a fake with a LoginShell has.
func (f *Fake) fileShell(channel io.ReadWriter) int {
	lines := bufio.NewReader(channel)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return 0
		}
		mark, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		words := splitWords(rest)
		out, status := []byte(nil), 1
		if f.mapPaths(words) {
			for i, word := range words {
				words[i] = unquote(word)
			}
			out, status = f.fileFunction(words[0], words[1:])
		}
		for part := range slices.Chunk(fmt.Appendf(out, "\n%s %d\n", mark, status), 32<<10) { // As through a pipe.
			if _, err := channel.Write(part); err != nil {
				return 0
			}
		}
	}
}

// Statuses of files.sh.
const (
	isMissing = 44
	isThere   = 45
)

// asStatus is the status of a function that looked for something.
func asStatus(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, fs.ErrNotExist):
		return isMissing
	default:
		return 1
	}
}

func (f *Fake) fileFunction(function string, words []string) (out []byte, status int) {
	switch function {
	case "k_home":
		return []byte(f.home() + "\n"), 0
	case "k_read":
		data, err := os.ReadFile(f.at(words[0]))
		return data, asStatus(err)
	case "k_stat":
		info, err := os.Stat(f.at(words[0]))
		if err != nil {
			return nil, asStatus(err)
		}
		return fmt.Appendf(nil, "%s\n", statLine(info)), 0
	case "k_list":
		return f.listFolder(f.at(words[0]))
	case "k_mkdir":
		return nil, f.makeFolder(f.at(words[1]), words[0])
	case "k_write", "k_create":
		return nil, f.putFile(function, words)
	case "k_append":
		return f.appendFile(words)
	case "k_remove":
		return nil, f.removeFile(words)
	default:
		return nil, 127
	}
}

func (f *Fake) at(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(f.home(), name)
}

// statLine is what `stat -c '%f %s %Y'` prints.
func statLine(info os.FileInfo) string {
	sys := info.Sys().(*syscall.Stat_t) //nolint:forcetypeassert // It is so on Linux.
	return fmt.Sprintf("%x %d %d", sys.Mode, info.Size(), info.ModTime().Unix())
}

func (f *Fake) listFolder(folder string) (out []byte, status int) {
	info, err := os.Stat(folder)
	if err != nil {
		return nil, asStatus(err)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, 1
	}
	out = fmt.Appendf(nil, "%s .//\n", statLine(info))
	for _, e := range entries {
		if info, err := e.Info(); err == nil { // Else it went away meanwhile.
			out = fmt.Appendf(out, "%s ./%s/\n", statLine(info), e.Name())
		}
	}
	return out, 0
}

func octal(text string) fs.FileMode {
	mode, _ := strconv.ParseUint(text, 8, 32)
	return fs.FileMode(mode)
}

func (f *Fake) makeFolder(folder, mode string) int {
	if info, err := os.Stat(folder); err == nil && info.IsDir() {
		return 0
	}
	if parent := filepath.Dir(folder); parent != folder {
		if status := f.makeFolder(parent, mode); status != 0 {
			return status
		}
	}
	err := os.Mkdir(folder, 0o700)
	if err == nil {
		err = os.Chmod(folder, octal(mode))
	}
	if info, look := os.Stat(folder); err != nil && (look != nil || !info.IsDir()) {
		return 1
	}
	return 0
}

// putFile is k_write and k_create.
func (f *Fake) putFile(function string, words []string) int {
	mask, parents, data := words[0], words[2], printed(words[3])
	dir, temporary, file := f.at(words[4]), f.at(words[5]), f.at(words[6])
	_, look := os.Lstat(file)
	if function == "k_create" && look == nil {
		return isThere
	}
	if status := f.makeFolder(dir, parents); status != 0 {
		return status
	}
	defer os.Remove(temporary)
	if f.writeFile(temporary, os.O_EXCL, mask, data) != nil {
		return 1
	}
	if function == "k_write" {
		return min(1, asStatus(os.Rename(temporary, file)))
	}
	err := os.Link(temporary, file)
	if errors.Is(err, fs.ErrExist) {
		return isThere
	}
	return min(1, asStatus(err))
}

func (f *Fake) writeFile(file string, flag int, mask string, data []byte) error {
	_, look := os.Stat(file)
	opened, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|flag, 0o600)
	if err != nil {
		return err
	}
	if look != nil {
		err = opened.Chmod(0o777 &^ octal(mask))
	}
	if f.Mood().DiskFull && len(data) > 0 {
		err = syscall.ENOSPC
	}
	if err == nil {
		_, err = opened.Write(data)
	}
	return errors.Join(err, opened.Close())
}

func (f *Fake) appendFile(words []string) (out []byte, status int) {
	file := f.at(words[2])
	if _, err := os.Stat(filepath.Dir(file)); err != nil {
		return nil, asStatus(err)
	}
	if f.writeFile(file, os.O_APPEND, words[0], printed(words[1])) != nil {
		return nil, 1
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, 1
	}
	return fmt.Appendf(nil, "%d\n", info.Size()), 0
}

func (f *Fake) removeFile(words []string) int {
	for i, word := range words {
		info, err := os.Lstat(f.at(word))
		if err != nil {
			return asStatus(err)
		}
		if info.IsDir() != (i < len(words)-1) {
			return 1
		}
	}
	err := os.Remove(f.at(words[len(words)-1]))
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	return min(1, asStatus(err))
}

// printed is what the shell's printf makes of a format without arguments.
func printed(format string) []byte {
	var data []byte
	for i := 0; i < len(format); i++ {
		switch {
		case format[i] == '%':
			i++
			data = append(data, '%')
		case format[i] == '\\':
			data = append(data, byte(octal(format[i+1:i+4])))
			i += 3
		default:
			data = append(data, format[i])
		}
	}
	return data
}

// splitWords are the words of a line as they are written: blanks within quotes
// are part of a word.
func splitWords(line string) []string {
	var words []string
	begin, within := 0, byte(0)
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case within != 0 && c == within:
			within = 0
		case within != 0:
		case c == '\'' || c == '"':
			within = c
		case c == '\\':
			i++
		case c == ' ':
			words = append(words, line[begin:i])
			begin = i + 1
		}
	}
	return append(words, line[begin:])
}

func unquote(word string) string {
	return strings.NewReplacer(`'\''`, "'", `'"$k_n"'`, "\n", "'", "").Replace(word)
}
