// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// Event is one change of one object. Old is nil for what was created, New for what was
// deleted. Neither may be changed by whoever reads them.
type Event struct {
	Old, New client.Object
	Time     time.Time

	made client.Object // New as it was made
}

// Store holds the objects. Its own methods are those of an administrator whose calls are
// never stopped; a Client's are. It is safe for concurrent use.
type Store struct {
	scheme *runtime.Scheme

	mu      sync.Mutex
	version int64
	objects map[string]map[types.NamespacedName]client.Object
	log     map[string][]Event
}

// New returns an empty store for the kinds of the scheme.
func New(scheme *runtime.Scheme) *Store {
	return &Store{scheme: scheme, objects: map[string]map[types.NamespacedName]client.Object{}, log: map[string][]Event{}}
}

// resource is the kind of an object, or of the items of a list.
func (s *Store) resource(o runtime.Object) (schema.GroupVersionKind, error) {
	gvk, err := apiutil.GVKForObject(o, s.scheme)
	if _, list := o.(client.ObjectList); list {
		gvk.Kind = gvk.Kind[:len(gvk.Kind)-len("List")]
	}
	return gvk, err
}

func groupResource(gvk schema.GroupVersionKind) schema.GroupResource {
	plural, _ := meta.UnsafeGuessKindToResource(gvk)
	return plural.GroupResource()
}

// Get reads an object.
func (s *Store) Get(key types.NamespacedName, into client.Object) error {
	gvk, err := s.resource(into)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.objects[gvk.Kind][key]
	if !ok {
		return apierrors.NewNotFound(groupResource(gvk), key.Name)
	}
	copyInto(found, into)
	return nil
}

func copyInto(from, into client.Object) {
	reflect.ValueOf(into).Elem().Set(reflect.ValueOf(from.DeepCopyObject()).Elem())
}

// List reads all objects that the options select, by namespace and name. A field can be
// selected by if the CRD declares it.
func (s *Store) List(into client.ObjectList, opts ...client.ListOption) error {
	gvk, err := s.resource(into)
	if err != nil {
		return err
	}
	var o client.ListOptions
	o.ApplyOptions(opts)
	s.mu.Lock()
	defer s.mu.Unlock()
	return fill(into, s.objects[gvk.Kind], o, func(field string) (client.IndexerFunc, error) {
		if read, ok := selectable[gvk.Kind][field]; ok {
			return func(object client.Object) []string { return []string{read(object)} }, nil
		}
		return nil, apierrors.NewBadRequest("field label not supported: " + field)
	})
}

// fill puts the selected objects into the list.
func fill(into client.ObjectList, objects map[types.NamespacedName]client.Object, o client.ListOptions, index func(string) (client.IndexerFunc, error)) error {
	var selected []client.Object
	for key, object := range objects {
		if o.Namespace == "" || key.Namespace == o.Namespace {
			selected = append(selected, object)
		}
	}
	if o.FieldSelector != nil {
		for _, r := range o.FieldSelector.Requirements() {
			values, err := index(r.Field)
			if err != nil {
				return err
			}
			selected = slices.DeleteFunc(selected, func(object client.Object) bool { return !slices.Contains(values(object), r.Value) })
		}
	}
	slices.SortFunc(selected, func(a, b client.Object) int {
		return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
	})
	if o.Limit > 0 && len(selected) > int(o.Limit) {
		selected = selected[:o.Limit]
	}
	items := reflect.ValueOf(into).Elem().FieldByName("Items")
	out := reflect.MakeSlice(items.Type(), 0, len(selected))
	for _, object := range selected {
		if o.UnsafeDisableDeepCopy == nil || !*o.UnsafeDisableDeepCopy {
			object = object.DeepCopyObject().(client.Object)
		}
		out = reflect.Append(out, reflect.ValueOf(object).Elem())
	}
	items.Set(out)
	return nil
}

// Create creates an object and completes it with what the server sets.
func (s *Store) Create(object client.Object) error {
	gvk, err := s.resource(object)
	if err != nil {
		return err
	}
	if object.GetResourceVersion() != "" {
		return errors.New("resourceVersion can not be set for Create requests")
	}
	stored := object.DeepCopyObject().(client.Object)
	asDecoded(stored)
	if withStatus[gvk.Kind] {
		clearStatus(stored)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := client.ObjectKeyFromObject(object)
	if _, exists := s.objects[gvk.Kind][key]; exists {
		return apierrors.NewAlreadyExists(groupResource(gvk), key.Name)
	}
	s.version++
	stored.SetUID(types.UID(fmt.Sprintf("uid-%d", s.version)))
	stored.SetCreationTimestamp(metav1.NewTime(time.Now().UTC().Truncate(time.Second)))
	stored.SetGeneration(1)
	s.put(gvk.Kind, key, nil, stored)
	copyInto(stored, object)
	return nil
}

func (s *Store) decode(gvk schema.GroupVersionKind, encoded []byte) (client.Object, error) {
	made, err := s.scheme.New(gvk)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(encoded, made); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	object := made.(client.Object)
	object.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	return object, nil
}

func clearStatus(object client.Object) {
	status := reflect.ValueOf(object).Elem().FieldByName("Status")
	status.SetZero()
}

// put stores an object under a new version and tells of the change. The caller holds mu.
func (s *Store) put(kind string, key types.NamespacedName, old, object client.Object) {
	s.version++
	object.SetResourceVersion(strconv.FormatInt(s.version, 10))
	if s.objects[kind] == nil {
		s.objects[kind] = map[types.NamespacedName]client.Object{}
	}
	s.objects[kind][key] = object
	s.log[kind] = append(s.log[kind], Event{Old: old, New: object, Time: time.Now(), made: object.DeepCopyObject().(client.Object)})
}

// Patch changes an object, or its status, by a merge patch. A resourceVersion in the
// patch has to be the object's.
func (s *Store) Patch(object client.Object, patch client.Patch, status bool) error {
	gvk, err := s.resource(object)
	if err != nil {
		return err
	}
	if patch.Type() != types.MergePatchType {
		return apierrors.NewBadRequest("only merge patches are understood")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := client.ObjectKeyFromObject(object)
	old, ok := s.objects[gvk.Kind][key]
	if !ok {
		return apierrors.NewNotFound(groupResource(gvk), key.Name)
	}
	changed, err := s.patched(gvk, old, object, patch)
	if err != nil {
		return err
	}
	return s.replace(gvk, key, old, changed, status, object)
}

// replace puts changed in the place of old, as far as the rules let it. The caller holds
// mu.
func (s *Store) replace(gvk schema.GroupVersionKind, key types.NamespacedName, old, changed client.Object, status bool, into client.Object) error {
	if v := changed.GetResourceVersion(); v != old.GetResourceVersion() {
		return conflict(gvk, old)
	}
	if changed.GetUID() != old.GetUID() {
		return apierrors.NewConflict(groupResource(gvk), key.Name, fmt.Errorf("precondition failed: UID in precondition: %s, UID in object meta: %s", changed.GetUID(), old.GetUID()))
	}
	if withStatus[gvk.Kind] {
		changed = onlyStatus(old, changed, status)
	}
	changed.SetCreationTimestamp(old.GetCreationTimestamp())
	changed.SetDeletionTimestamp(old.GetDeletionTimestamp())
	changed.SetGeneration(old.GetGeneration())
	if !status && !reflect.DeepEqual(specOf(old), specOf(changed)) {
		changed.SetGeneration(old.GetGeneration() + 1)
	}
	if rule := rules[gvk.Kind]; rule != nil && !status {
		if broken := rule(old, changed); broken != nil {
			return apierrors.NewInvalid(gvk.GroupKind(), key.Name, broken)
		}
	}
	if reflect.DeepEqual(old, changed) {
		copyInto(old, into)
		return nil
	}
	if old.GetDeletionTimestamp() != nil && len(changed.GetFinalizers()) == 0 {
		s.remove(gvk.Kind, key, old)
		copyInto(changed, into)
		return nil
	}
	s.put(gvk.Kind, key, old, changed)
	copyInto(changed, into)
	return nil
}

func conflict(gvk schema.GroupVersionKind, old client.Object) error {
	return apierrors.NewConflict(groupResource(gvk), old.GetName(), errors.New("the object has been modified; please apply your changes to the latest version and try again"))
}

// onlyStatus is old with the status of changed, or changed with the status of old.
func onlyStatus(old, changed client.Object, status bool) client.Object {
	from, into := old, changed
	if status {
		from, into = changed, old.DeepCopyObject().(client.Object)
	}
	reflect.ValueOf(into).Elem().FieldByName("Status").Set(reflect.ValueOf(from).Elem().FieldByName("Status"))
	return into
}

func specOf(object client.Object) any {
	spec := reflect.ValueOf(object).Elem().FieldByName("Spec")
	if !spec.IsValid() {
		return nil
	}
	return spec.Interface()
}

// Delete deletes an object, if the preconditions hold. One with finalizers is only
// marked.
func (s *Store) Delete(object client.Object, opts ...client.DeleteOption) error {
	gvk, err := s.resource(object)
	if err != nil {
		return err
	}
	var o client.DeleteOptions
	o.ApplyOptions(opts)
	s.mu.Lock()
	defer s.mu.Unlock()
	key := client.ObjectKeyFromObject(object)
	old, ok := s.objects[gvk.Kind][key]
	if !ok {
		return apierrors.NewNotFound(groupResource(gvk), key.Name)
	}
	if p := o.Preconditions; p != nil {
		if (p.UID != nil && *p.UID != old.GetUID()) || (p.ResourceVersion != nil && *p.ResourceVersion != old.GetResourceVersion()) {
			return apierrors.NewConflict(groupResource(gvk), key.Name, fmt.Errorf("precondition failed"))
		}
	}
	if len(old.GetFinalizers()) == 0 {
		s.remove(gvk.Kind, key, old)
		return nil
	}
	if old.GetDeletionTimestamp() == nil {
		marked := old.DeepCopyObject().(client.Object)
		marked.SetDeletionTimestamp(new(metav1.NewTime(time.Now().UTC().Truncate(time.Second))))
		marked.SetGeneration(old.GetGeneration() + 1)
		s.put(gvk.Kind, key, old, marked)
	}
	return nil
}

// remove forgets an object and tells of it. The caller holds mu.
func (s *Store) remove(kind string, key types.NamespacedName, old client.Object) {
	s.version++
	delete(s.objects[kind], key)
	s.log[kind] = append(s.log[kind], Event{Old: old, Time: time.Now()})
}

// Collect deletes what is owned by nothing that is there any more, and reports whether
// that was anything.
func (s *Store) Collect() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	there := map[types.UID]bool{}
	for _, objects := range s.objects {
		for _, object := range objects {
			there[object.GetUID()] = true
		}
	}
	collected := false
	for _, kind := range slices.Sorted(keysOf(s.objects)) {
		var orphans []client.Object
		for _, object := range s.objects[kind] {
			owners := object.GetOwnerReferences()
			if len(owners) > 0 && !slices.ContainsFunc(owners, func(o metav1.OwnerReference) bool { return there[o.UID] }) {
				orphans = append(orphans, object)
			}
		}
		slices.SortFunc(orphans, func(a, b client.Object) int { return cmp.Compare(a.GetUID(), b.GetUID()) })
		for _, orphan := range orphans {
			s.remove(kind, client.ObjectKeyFromObject(orphan), orphan)
			collected = true
		}
	}
	return collected
}

func keysOf[V any](m map[string]V) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// event returns the change at a position of a kind's history.
func (s *Store) event(kind string, position int) (Event, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if position >= len(s.log[kind]) {
		return Event{}, false
	}
	return s.log[kind][position], true
}

// Altered names the objects that were changed although they were only lent: by an event, or
// by a cache that was asked for no copy. The caches of all processes lend the same ones.
func (s *Store) Altered() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []string
	for kind, events := range s.log {
		for _, e := range events {
			if e.New != nil && !reflect.DeepEqual(e.New, e.made) {
				found = append(found, fmt.Sprintf("%s %s/%s of version %s", kind, e.made.GetNamespace(), e.made.GetName(), e.made.GetResourceVersion()))
			}
		}
	}
	slices.Sort(found)
	return found
}

// Version is a number that grows with every change.
func (s *Store) Version() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version
}
