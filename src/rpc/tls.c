/*
 * tls.c - the server's TCP port for remote masters: TLS 1.3 with certificates on both sides, and
 * what a client may do by the common name of its certificate.
 *
 * gRPC asks for the certificates at every handshake (fetch_certificates), so that files that were
 * replaced count from the next connection on. A set that is broken or half written changes nothing.
 * That TLS 1.2 is refused is seen to in core.c. Connections of the unix socket carry no TLS and
 * were checked when they were accepted; any other connection without TLS is denied everything.
 */
#include "private.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>

#define PEM_MAX (1 << 20)

struct rpc_tls_port {
    char *address, *cert, *key, *client_ca;
    char **readers, **full;
    struct bytes pem[3]; /* the certificates in use: gRPC's threads, one at a time */
};

void tls_port_free(struct rpc_tls_port *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(p->pem); i++)
        bytes_free(&p->pem[i]);
    free(p->address);
    free(p->cert);
    free(p->key);
    free(p->client_ca);
    strv_free(p->readers);
    strv_free(p->full);
    free(p);
}

/* ---- Certificates ---------------------------------------------------------------------------- */

static int fail_openssl(const char *file, const char *what, struct err *e)
{
    unsigned long code = ERR_get_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;

    ERR_clear_error();
    return err_set(e, ERR_INVALID_ARGUMENT, "%s: %s: %s", file, what, reason ? reason : "unusable");
}

/* gRPC only says that something was wrong: this says what. */
static int check_files(const struct rpc_tls_port *p, struct err *e)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    int r = 0;

    if (!ctx)
        return fail_openssl(p->cert, "prepare TLS", e);
    if (SSL_CTX_use_certificate_chain_file(ctx, p->cert) != 1)
        r = fail_openssl(p->cert, "no usable certificate", e);
    else if (SSL_CTX_use_PrivateKey_file(ctx, p->key, SSL_FILETYPE_PEM) != 1)
        r = fail_openssl(p->key, "no key that fits the certificate", e);
    else if (SSL_CTX_load_verify_locations(ctx, p->client_ca, NULL) != 1)
        r = fail_openssl(p->client_ca, "no usable CA certificate", e);
    SSL_CTX_free(ctx);
    return r;
}

static int read_pem(const struct rpc_tls_port *p, struct bytes pem[3], struct err *e)
{
    const char *const files[] = {p->client_ca, p->key, p->cert};

    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        if (file_read(AT_FDCWD, files[i], PEM_MAX, &pem[i], e) < 0)
            return -1;
    return 0;
}

static bool is_same(const struct bytes *a, const struct bytes *b)
{
    return a->data && a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

/* Texts of gRPC end with a NUL. */
static char *pem_text(const struct bytes *pem)
{
    return xstrndup((const char *)pem->data, pem->len);
}

static grpc_ssl_server_certificate_config *make_config(const struct bytes pem[3])
{
    _cleanup_free_ char *ca = pem_text(&pem[0]);
    _cleanup_free_ char *key = pem_text(&pem[1]);
    _cleanup_free_ char *cert = pem_text(&pem[2]);
    const grpc_ssl_pem_key_cert_pair pair = {.private_key = key, .cert_chain = cert};
    grpc_ssl_server_certificate_config *config =
        grpc_ssl_server_certificate_config_create(ca, &pair, 1);

    explicit_bzero(key, strlen(key));
    return config;
}

/* On a thread of gRPC, at each handshake; gRPC sees to it that there is one at a time. */
static grpc_ssl_certificate_config_reload_status
fetch_certificates(void *port, grpc_ssl_server_certificate_config **ret)
{
    struct rpc_tls_port *p = port;
    struct bytes pem[3] = {{0}};
    grpc_ssl_certificate_config_reload_status status = GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    _cleanup_err_ struct err e = ERR_INIT;
    bool same = true;

    if (read_pem(p, pem, &e) < 0 || check_files(p, &e) < 0) {
        log_warn("rpc", p->address, "keeping the certificates as they were: %s", err_text(&e));
        status = GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_FAIL;
    } else {
        for (size_t i = 0; i < ARRAY_SIZE(pem); i++)
            same = same && is_same(&p->pem[i], &pem[i]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(pem); i++) {
        if (!same) {
            bytes_free(&p->pem[i]);
            p->pem[i] = pem[i];
        } else {
            bytes_free(&pem[i]);
        }
    }
    if (!same) {
        *ret = make_config(p->pem);
        status = GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
    }
    return status;
}

/* ---- The port -------------------------------------------------------------------------------- */

int rpc_server_listen_tls(struct rpc_server *s, const struct rpc_tls *tls, struct err *e)
{
    struct rpc_tls_port *p = xnew(struct rpc_tls_port);

    p->address = xstrdup(tls->address);
    p->cert = xstrdup(tls->cert);
    p->key = xstrdup(tls->key);
    p->client_ca = xstrdup(tls->client_ca);
    p->readers = strv_dup(tls->readers, strv_len(tls->readers));
    p->full = strv_dup(tls->full, strv_len(tls->full));
    if (s->tls || check_files(p, e) < 0) {
        tls_port_free(p);
        return s->tls ? err_set(e, ERR_FAILED_PRECONDITION, "there is a TLS port already") : -1;
    }
    s->tls = p;
    return 0;
}

int tls_port_open(struct rpc_tls_port *p, grpc_server *server, struct err *e)
{
    grpc_server_credentials *credentials = grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(
            GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY, fetch_certificates, p));
    int port = grpc_server_add_http2_port(server, p->address, credentials);

    grpc_server_credentials_release(credentials);
    if (port == 0)
        return err_set(e, ERR_UNAVAILABLE, "listen on %s: the address is in use or not this node's",
                       p->address);
    log_info("rpc", p->address, "remote masters are served with TLS");
    return 0;
}

/* ---- Roles ----------------------------------------------------------------------------------- */

static bool has_property(const grpc_auth_context *context, const char *name, const char *value)
{
    grpc_auth_property_iterator it = grpc_auth_context_find_properties_by_name(context, name);
    const grpc_auth_property *p = grpc_auth_property_iterator_next(&it);

    return p && p->value_length == strlen(value) && memcmp(p->value, value, p->value_length) == 0;
}

/* True when the certificate has exactly one common name, and it is in the list. */
static bool is_named(const grpc_auth_context *context, char *const *names)
{
    grpc_auth_property_iterator it =
        grpc_auth_context_find_properties_by_name(context, GRPC_X509_CN_PROPERTY_NAME);

    if (!grpc_auth_property_iterator_next(&it) || grpc_auth_property_iterator_next(&it))
        return false;
    for (; names && *names; names++)
        if (has_property(context, GRPC_X509_CN_PROPERTY_NAME, *names))
            return true;
    return false;
}

/* Connections that the listeners of unix sockets have accepted are named after their fd. */
static bool is_local(grpc_call *call)
{
    char *peer = grpc_call_get_peer(call);
    bool local = peer && strncmp(peer, "fd:", 3) == 0;

    gpr_free(peer);
    return local;
}

int tls_check_role(const struct rpc_tls_port *p, grpc_call *call, const struct rpc_row *row,
                   struct err *e)
{
    int r = 0;

    if (is_local(call))
        return 0;
    grpc_auth_context *context = grpc_call_auth_context(call);

    if (!context || !grpc_auth_context_peer_is_authenticated(context))
        r = err_set(e, ERR_UNAUTHENTICATED, "the connection carries no client certificate");
    else if (is_named(context, p->full))
        r = 0;
    else if (!is_named(context, p->readers))
        r = err_set(e, ERR_PERMISSION_DENIED,
                    "the name of the client's certificate has no role on this node");
    else if (!row->reads)
        r = err_set(e, ERR_PERMISSION_DENIED, "%s needs the full role; this client may only read",
                    row->path);
    grpc_auth_context_release(context);
    return r;
}
