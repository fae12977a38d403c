package engine

import (
	"maps"
	"slices"
	"strings"
)

// reserved are kstep's labels on containers. An image may bring labels of these
// names, which engines merge into those of its containers.
func reserved() []string {
	return append(onApplication(), LabelSpec, LabelProxy, LabelProxyAPI,
		LabelAccessory, LabelAccessoryService, LabelAccessoryDestination, LabelAccessoryParts)
}

// onApplication are the labels that accessories do not have.
func onApplication() []string {
	return []string{
		LabelService, LabelRole, LabelDestination, LabelVersion, LabelRelease, LabelReplica, LabelRun, LabelTask, LabelScheme, LabelSettings, LabelRestart, LabelNetwork,
	}
}

// labelled are the labels to create a container with: each of kstep's that it
// does not have is empty, whatever its image says, and no proxy follows it unless it
// says so itself. The labels are no part of the spec's digest.
func labelled(own map[string]string) map[string]string {
	labels := make(map[string]string, len(own))
	for _, name := range reserved() {
		labels[name] = ""
	}
	unrouted(labels, own)
	maps.Copy(labels, own)
	return labels
}

// genuine are the labels of an observed container without those of kstep's names
// that kstep did not give it: empty ones, those of a container that is none of
// kstep's, and those that an image brought to containers of earlier versions of
// kstep. One of an application has a name that begins with the service; the label of
// its spec alone proves nothing, for anyone who makes a container can set it. An
// accessory may have any name. An empty destination is a label of a container that has
// a service.
func genuine(name string, labels map[string]string) map[string]string {
	is := func(label string) bool { return labels[label] != "" }
	drop := func(names ...string) {
		for _, label := range names {
			delete(labels, label)
		}
	}
	named := is(LabelService) && strings.HasPrefix(name, labels[LabelService]+"-")
	switch {
	case !is(LabelSpec) && !named:
		drop(reserved()...)
	case is(LabelAccessory) && is(LabelRole) && strings.HasPrefix(name, labels[LabelService]+"-"+labels[LabelRole]):
		drop(LabelAccessory, LabelAccessoryService, LabelAccessoryDestination, LabelAccessoryParts)
	case is(LabelAccessory), is(LabelProxy):
		drop(onApplication()...)
	case is(LabelService) && !named:
		drop(reserved()...)
	}
	for _, label := range reserved() {
		switch label {
		case LabelDestination:
			if !is(LabelService) {
				drop(label)
			}
		case LabelAccessoryDestination:
			if !is(LabelAccessoryService) {
				drop(label)
			}
		default:
			if !is(label) {
				drop(label)
			}
		}
	}
	return labels
}

// matches repeats the engine's selection by labels for those that are genuine.
func (f Filter) matches(all []Container) []Container {
	return slices.DeleteFunc(With(all, f.Labels), func(c Container) bool {
		return slices.ContainsFunc(f.Labeled, func(label string) bool { _, has := c.Labels[label]; return !has })
	})
}
