// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

const (
	// reviewPatience is how long it may take to find out who may read the metrics, the wait for
	// its turn included.
	reviewPatience = 10 * time.Second
	// reviewsAtOnce bounds what strangers can have asked of the API server, which counts it as
	// this controller's: its orders are to find room there. Whoever comes meanwhile has its
	// turn after them, or any pod could keep the metrics from those who watch.
	reviewsAtOnce = 4
)

// access has the metrics read by those only whom the API server lets get them: it asks who
// the bearer of a token is, and then whether that one may. Nothing is remembered, so that who
// loses the right loses it at once; a scrape is two calls. controller-runtime's filter does
// the same with the library of the API server, which is a third of this program then, and
// 12 MiB of memory.
func access(config *rest.Config, c *http.Client) (server.Filter, error) {
	tokens, err := authenticationclient.NewForConfigAndClient(config, c)
	if err != nil {
		return nil, err
	}
	rights, err := authorizationclient.NewForConfigAndClient(config, c)
	if err != nil {
		return nil, err
	}
	door := &door{tokens: tokens, rights: rights, places: make(chan struct{}, reviewsAtOnce)}
	return func(log logr.Logger, served http.Handler) (http.Handler, error) {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), reviewPatience)
			status, err := door.opens(ctx, r)
			cancel()
			if err != nil && r.Context().Err() == nil {
				// Not with what the API server says of a token, and not for whoever hung up:
				// strangers could fill the log.
				log.Error(err, "it cannot be found out who may read the metrics")
			}
			if status == http.StatusOK {
				served.ServeHTTP(w, r)
				return
			}
			http.Error(w, http.StatusText(status), status)
		}), nil
	}, nil
}

// door asks the API server who may come in.
type door struct {
	tokens authenticationclient.AuthenticationV1Interface
	rights authorizationclient.AuthorizationV1Interface
	places chan struct{}
}

// opens returns http.StatusOK if whoever makes the request may have what it asks for, and
// otherwise the status to answer with. The error is that of a review that was not made.
func (d *door) opens(ctx context.Context, r *http.Request) (int, error) {
	scheme, token, _ := strings.Cut(strings.TrimSpace(r.Header.Get("Authorization")), " ")
	if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "Bearer") || token == "" {
		return http.StatusUnauthorized, nil
	}
	select {
	case d.places <- struct{}{}:
		defer func() { <-d.places }()
	case <-ctx.Done():
		return http.StatusTooManyRequests, nil
	}
	who, err := d.tokens.TokenReviews().Create(ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
	if err != nil {
		return http.StatusInternalServerError, err
	}
	if !who.Status.Authenticated {
		return http.StatusUnauthorized, nil
	}
	user := who.Status.User
	if user.Username == "" {
		return http.StatusInternalServerError, errors.New("the API server knows the token and not whose it is")
	}
	extra := map[string]authorizationv1.ExtraValue{}
	for k, v := range user.Extra {
		extra[k] = authorizationv1.ExtraValue(v)
	}
	may, err := d.rights.SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user.Username, UID: user.UID, Groups: user.Groups, Extra: extra,
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: r.URL.Path, Verb: strings.ToLower(r.Method)},
	}}, metav1.CreateOptions{})
	switch {
	case err != nil:
		return http.StatusInternalServerError, err
	case may.Status.Denied || !may.Status.Allowed:
		return http.StatusForbidden, nil
	}
	return http.StatusOK, nil
}
