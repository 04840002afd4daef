// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package main

// issuerManifest takes a line that says what is bought, the URL of the simulator and
// the certificate that it is trusted by.
const issuerManifest = `apiVersion: certmanager.regfish.com/v1alpha1
kind: RegfishClusterIssuer
metadata:
  name: regfish
spec:
  apiKeySecretRef:
    name: regfish-api
  %s
  # The simulator; without url it is https://api.regfish.com.
  url: %s
  caBundle: %s
`

// wildcardManifest asks for a name that not every product covers.
const wildcardManifest = `apiVersion: cert-manager.io/v1
kind: Certificate
metadata:
  name: www
  namespace: shop
spec:
  secretName: www-tls
  commonName: "*.example.com"
  dnsNames:
  - "*.example.com"
  issuerRef:
    group: certmanager.regfish.com
    kind: RegfishClusterIssuer
    name: regfish
`

// dnsManifest is all that DNS automation needs to be allowed.
const dnsManifest = `apiVersion: v1
kind: ServiceAccount
metadata: {name: dns-automation, namespace: dns}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: dns-automation}
rules:
- apiGroups: [certmanager.regfish.com]
  resources: [regfishorders]
  verbs: [get, list, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: dns-automation}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: dns-automation}
subjects:
- {kind: ServiceAccount, name: dns-automation, namespace: dns}
`
