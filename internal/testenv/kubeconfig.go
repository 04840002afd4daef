// Copyright The regfish-issuer Authors
// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// writeKubeconfig writes what config says about the server and the user. Impersonation is kept.
func writeKubeconfig(path string, config *rest.Config) error {
	const name = "testenv"
	err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{name: {
			Server:                   config.Host,
			CertificateAuthorityData: config.CAData,
		}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{name: {
			ClientCertificateData: config.CertData,
			ClientKeyData:         config.KeyData,
			Token:                 config.BearerToken,
			Impersonate:           config.Impersonate.UserName,
			ImpersonateGroups:     config.Impersonate.Groups,
		}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name}},
		CurrentContext: name,
	}, path)
	if err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	return nil
}

// Kubectl runs a command line that begins with kubectl as a document has it, in a shell and as an administrator, and
// returns what it says. The test fails if the command does.
func (e *Env) Kubectl(command string) string {
	e.t.Helper()
	assets, err := Assets()
	if err != nil {
		e.t.Fatal(err)
	}
	kubeconfig := filepath.Join(e.t.TempDir(), "kubeconfig")
	if err := e.plane.WriteKubeconfig(kubeconfig); err != nil {
		e.t.Fatal(err)
	}
	if !strings.HasPrefix(command, "kubectl ") {
		e.t.Fatalf("%q is no command of kubectl", command)
	}
	cmd := exec.Command("sh", "-e", "-c", command)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "PATH="+assets+string(os.PathListSeparator)+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		e.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}
