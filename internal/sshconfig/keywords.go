package sshconfig

import "strings"

// form is what stands after a keyword.
type form int

const (
	word     form = iota // One argument.
	words                // Any number of arguments; the first line counts.
	many                 // One argument, and each line adds one.
	command              // The rest of the line.
	jump                 // Hosts between commas.
	port                 // A port, or the name of a service.
	number               // A whole number.
	duration             // A time such as `90` or `1m30s`, or `none`.
	choice               // One of a few words.
	socket               // The path of an agent's socket, or where to find it.
	refuse               // The text with which the connection is refused.
)

// expansion is what in the arguments is replaced.
type expansion int

const (
	literal expansion = iota
	tilde             // `~` at the start.
	path              // `~`, tokens and `${VARIABLE}`.
	proxy             // The tokens of ProxyCommand.
)

// keyword is one that matters for how a host is reached.
type keyword struct {
	name      string // As in ssh_config(5).
	form      form
	choices   []string
	expansion expansion
}

// keywords are those that matter, by their names in lower case. Names that
// OpenSSH keeps for old files stand beside the current ones.
func keywords() map[string]keyword {
	flag := []string{"yes", "no"}
	table := map[string]keyword{}
	for _, k := range []keyword{
		{name: "HostName"}, {name: "User"}, {name: "HostKeyAlias"}, {name: "Tag"}, {name: "IgnoreUnknown"},
		{name: "BindAddress"}, {name: "BindInterface"}, {name: "PreferredAuthentications"},
		{name: "HostKeyAlgorithms"}, {name: "KexAlgorithms"}, {name: "Ciphers"}, {name: "MACs"},
		{name: "PubkeyAcceptedAlgorithms"}, {name: "CASignatureAlgorithms"},
		{name: "PKCS11Provider"}, {name: "SecurityKeyProvider"},
		{name: "Port", form: port},
		{name: "ProxyJump", form: jump, expansion: proxy},
		{name: "ProxyCommand", form: command, expansion: proxy},
		{name: "KnownHostsCommand", form: command},
		{name: "IdentityFile", form: many, expansion: path},
		{name: "CertificateFile", form: many, expansion: path},
		{name: "IdentityAgent", form: socket, expansion: path},
		{name: "UserKnownHostsFile", form: words, expansion: path},
		{name: "GlobalKnownHostsFile", form: words, expansion: tilde},
		{name: "RevokedHostKeys", form: words, expansion: path},
		{name: "CanonicalDomains", form: words}, {name: "CanonicalizePermittedCNAMEs", form: words},
		{name: "ConnectTimeout", form: duration}, {name: "ServerAliveInterval", form: duration},
		{name: "ServerAliveCountMax", form: number}, {name: "ConnectionAttempts", form: number},
		{name: "CanonicalizeMaxDots", form: number}, {name: "RequiredRSASize", form: number},
		{name: "IdentitiesOnly", form: choice, choices: flag},
		{name: "ProxyUseFdpass", form: choice, choices: flag},
		{name: "GSSAPIAuthentication", form: choice, choices: flag},
		{name: "HostbasedAuthentication", form: choice, choices: flag},
		{name: "NoHostAuthenticationForLocalhost", form: choice, choices: flag},
		{name: "CanonicalizeFallbackLocal", form: choice, choices: flag},
		{name: "CanonicalizeHostname", form: choice, choices: append([]string{"always"}, flag...)},
		{name: "PubkeyAuthentication", form: choice, choices: append([]string{"unbound", "host-bound"}, flag...)},
		{name: "VerifyHostKeyDNS", form: choice, choices: append([]string{"ask"}, flag...)},
		{name: "StrictHostKeyChecking", form: choice, choices: append([]string{"ask", "off", "accept-new"}, flag...)},
		{name: "AddressFamily", form: choice, choices: []string{"any", "inet", "inet6"}},
		{name: "RefuseConnection", form: refuse},
	} {
		table[strings.ToLower(k.name)] = k
	}
	for old, name := range map[string]string{
		"identityfile2": "identityfile", "pubkeyacceptedkeytypes": "pubkeyacceptedalgorithms",
		"dsaauthentication": "pubkeyauthentication", "smartcarddevice": "pkcs11provider",
		"rsaminsize": "requiredrsasize", // Of Red Hat, before OpenSSH had one.
	} {
		table[old] = table[name]
	}
	return table
}

// ignored are the keywords that change nothing about how kstep reaches a host:
// terminals, forwarding, the master connection, what is printed, and methods to
// log in that prompt the user. Among them are those of distributions and
// vendors.
func ignored() map[string]bool {
	table := map[string]bool{}
	for name := range strings.FieldsSeq(`
		addkeystoagent afstokenpassing batchmode challengeresponseauthentication channeltimeout
		checkhostip cipher clearallforwardings compression compressionlevel controlmaster
		controlpath controlpersist dynamicforward enableescapecommandline enablesshkeysign
		escapechar exitonforwardfailure fallbacktorsh fingerprinthash forkafterauthentication
		forwardagent forwardx11 forwardx11timeout forwardx11trusted gatewayports
		globalknownhostsfile2 gssapiclientidentity gssapidelegatecredentials gssapikexalgorithms
		gssapikeyexchange gssapirenewalforcesrekey gssapiserveridentity gssapitrustdns
		hashknownhosts hostbasedacceptedalgorithms hostbasedkeytypes ipqos
		kbdinteractiveauthentication kbdinteractivedevices keepalive kerberosauthentication
		kerberostgtpassing localcommand localforward loglevel logverbose
		numberofpasswordprompts obscurekeystroketiming passwordauthentication
		permitlocalcommand permitremoteopen protocol rekeylimit remotecommand remoteforward
		requesttty rhostsauthentication rhostsrsaauthentication rsaauthentication
		sendenv sessiontype setenv skeyauthentication stdinnull streamlocalbindmask
		streamlocalbindunlink syslogfacility tcpkeepalive tisauthentication tunnel tunneldevice
		updatehostkeys usekeychain useprivilegedport userknownhostsfile2 useroaming usersh
		versionaddendum visualhostkey warnweakcrypto xauthlocation`) {
		table[name] = true
	}
	return table
}
