package config

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/kstep/kstep/schema"
)

// maxVariable is what Linux takes of one environment variable with its name,
// an equals sign and the byte at its end (MAX_ARG_STRLEN).
const maxVariable = 128 << 10

// VariableFits reports whether a process can be started with the variable. The
// error does not hold its value.
func VariableFits(name, value string) error {
	if size := len(name) + len("=") + len(value) + 1; size > maxVariable {
		return fmt.Errorf("is %d bytes long with its name; a variable can have %d (128 KiB): put it into a file, or into several variables", size-1, maxVariable-1)
	}
	return nil
}

// maxTogether keeps the names of files on the hosts below the 255 bytes that
// file systems take: service, destination and role are in one of them, with some
// of kstep's own and a temporary ending.
const maxTogether = 200

// lengths checks names that are only together too long.
func (c *checker) lengths() {
	check := func(segs []string, what, name string) {
		size := len(c.cfg.Service) + len(c.cfg.Destination) + len(name)
		if size <= maxTogether {
			return
		}
		with := "service"
		if c.cfg.Destination != "" {
			with = "service and destination"
		}
		c.atKey(segs, "the %s's name is %d characters long together with %s; at most %d fit into the names of files on the hosts", what, size, with, maxTogether)
	}
	for _, role := range c.cfg.Servers.Roles {
		check([]string{"servers", role.Name}, "role", role.Name)
	}
	for _, a := range c.cfg.Accessories.All {
		check([]string{"accessories", a.Name}, "accessory", a.Name)
	}
	for _, t := range c.cfg.Tasks.All {
		check([]string{"tasks", t.Name}, "task", t.Name)
	}
}

// explained says more than the schema can: what is wrong with the name of an
// image or of a host, whose value may come from a variable.
func (c *checker) explained(p schema.Problem) string {
	n := c.tree.find(p.Path)
	if n != nil && n.kind == scalar && among("proxy.hosts.*", p.Path) {
		if problem := hostProblem(n.text); problem != "" && strings.HasPrefix(p.Message, "must be a host name") {
			return problem + ": " + p.Message
		}
		return p.Message
	}
	if n == nil || n.kind != scalar || !among("image proxy.image accessories.*.image", p.Path) {
		return p.Message
	}
	shown, secret := n.text, c.fillsSecret(n)
	if secret || len(shown) > 255 || strings.IndexFunc(shown, unprintable) >= 0 {
		shown = ""
	}
	message, instead := imageProblem(n.text)
	switch {
	case message == "" && shown != "" && n.vars != nil:
		return fmt.Sprintf("%s; %s is %q", p.Message, n.raw, shown)
	case message == "":
		return p.Message
	case shown == "":
		return fmt.Sprintf("%s: %s", message, p.Message)
	case instead != "":
		return fmt.Sprintf("%s: %q; write %s", message, shown, instead)
	}
	return fmt.Sprintf("%s: %q", message, shown)
}

func unprintable(r rune) bool { return r < ' ' || r == 0x7f }

// imageProblem names what people get wrong in the name of an image, and what it
// would be without.
func imageProblem(image string) (message, instead string) {
	lower := lowerRepository(image)
	if server, rest, found := strings.Cut(image, "/"); found && NamesServer(image) {
		lower = server + "/" + lowerRepository(rest)
	}
	switch {
	case strings.Contains(image, "://"):
		_, rest, _ := strings.Cut(image, "://")
		return "must not begin with a scheme such as https://", lowerRepository(rest)
	case strings.TrimSpace(image) != image || strings.Contains(image, " "):
		return "must not have blanks", strings.ReplaceAll(lower, " ", "")
	case lower != image:
		return "has capital letters, and an image's name cannot", lower
	}
	return "", ""
}

var portAtEnd = regexp.MustCompile(`:[0-9]*$`)

// hostProblem names what people write beside the name of a host.
func hostProblem(name string) string {
	switch {
	case strings.Contains(name, "://"):
		return "must not begin with a scheme such as https://"
	case strings.ContainsAny(name, "/?#"):
		return "must not have a path, which belongs to proxy.path_prefix"
	case strings.ContainsAny(name, " \t\n,;"):
		return "must be one name, without blanks and commas; several are a list"
	case name == "*":
		return "the star stands for one part of a name; for all names, leave proxy.hosts out"
	case portAtEnd.MatchString(name) && strings.Count(name, ":") == 1:
		return "must not have a port: requests to every port of the proxy are compared without it"
	case strings.Contains(name, ":"):
		return "an IPv6 address cannot be routed by its name"
	case strings.HasSuffix(name, "."):
		return "must not end with a dot; requests with one are served too"
	case strings.ContainsFunc(name, func(r rune) bool { return r > 0x7f }):
		return "has letters that browsers send in their ASCII form, which begins with xn--; write that one"
	case strings.Contains(name, "*"):
		return "the star can only be the whole first part of a name"
	case strings.Contains(name, "_"):
		return "has an underscore, which the name of a host cannot have"
	}
	return ""
}

// lowerRepository leaves a tag and a digest as they are.
func lowerRepository(image string) string {
	end := strings.IndexAny(image, "@")
	if end < 0 {
		end = len(image)
	}
	if colon := strings.LastIndex(image[:end], ":"); colon > strings.LastIndex(image[:end], "/") {
		end = colon
	}
	return strings.ToLower(image[:end]) + image[end:]
}

// fillsSecret reports whether a value has a variable in it that the file also
// names as a secret. The tree may still be broken, so the decoded types are of
// no use here.
func (c *checker) fillsSecret(n *node) bool {
	found := false
	c.tree.walk(func(segs []string, s *node) {
		if s.kind != scalar || len(segs) < 2 || index(segs[len(segs)-1]) < 0 {
			return
		}
		switch segs[len(segs)-2] {
		case "secret", "secrets", "password", "username", "key_data", "allow_empty":
			for _, name := range n.vars {
				found = found || secretOf(s.text) == name
			}
		}
	})
	if commands := c.tree.get("secrets").get("commands"); commands != nil {
		for _, name := range n.vars {
			found = found || commands.get(name) != nil
		}
	}
	return found
}
