/*
 * podd/http.h - libcurl on the event loop: any number of transfers, no thread of their own.
 *
 * The caller makes and configures a CURL easy handle (curl_easy_setopt(3)) and gives it here to
 * run; the handle stays the caller's.
 */
#ifndef PODD_HTTP_H
#define PODD_HTTP_H

#include "podd/base.h"

#include <curl/curl.h>

struct http;
struct http *http_new(struct loop *loop);
/* No transfer may be running. */
void http_free(struct http *h);

typedef void http_done_fn(void *arg, CURL *easy, CURLcode result);
/* Runs the transfer; fn is called once, on the loop, never from within this call. It may start the
 * same handle again or clean it up. Uses CURLOPT_PRIVATE. */
void http_start(struct http *h, CURL *easy, http_done_fn *fn, void *arg);
/* Ends a running transfer without calling fn. Harmless when it does not run. */
void http_cancel(struct http *h, CURL *easy);
/* Lets a transfer that its write callback paused go on. */
void http_resume(struct http *h, CURL *easy);

#endif
