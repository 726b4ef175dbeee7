/*
 * A poller that uses libuv's uv_poll, on the loop of the environment that asks (a worker has its own).
 *
 * The few functions that are needed are declared here and looked up at run time. So building needs no headers of libuv,
 * and the addon loads where there is no libuv. These declarations are stable throughout libuv 1.x (uv.h).
 */
#include "../fdpasser.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>

typedef struct uv_handle uv_handle;
typedef void (*uv_poll_cb)(uv_handle *handle, int status, int events);
typedef void (*uv_close_cb)(uv_handle *handle);

enum { UV_POLL = 8, UV_READABLE = 1, UV_WRITABLE = 2, UV_DISCONNECT = 4 };

static struct {
  size_t (*handle_size)(int type);
  int (*poll_init)(void *loop, uv_handle *handle, int fd);
  int (*poll_start)(uv_handle *handle, int events, uv_poll_cb cb);
  int (*poll_stop)(uv_handle *handle);
  void (*close)(uv_handle *handle, uv_close_cb cb);
  void (*ref)(uv_handle *handle);
  void (*unref)(uv_handle *handle);
  void (*set_data)(uv_handle *handle, void *data);
  void *(*get_data)(const uv_handle *handle);
} uv;

struct fdp_watcher {
  uv_handle *handle;
  fdp_ready ready;
  fdp_gone gone;
  void *data;
};

static int look_up(void *function, const char *name) {
  void *symbol = dlsym(RTLD_DEFAULT, name);
  *(void **)function = symbol;
  return symbol != NULL;
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int loaded;

static void load(void) {
  loaded = look_up(&uv.handle_size, "uv_handle_size") && look_up(&uv.poll_init, "uv_poll_init") &&
           look_up(&uv.poll_start, "uv_poll_start") && look_up(&uv.poll_stop, "uv_poll_stop") &&
           look_up(&uv.close, "uv_close") && look_up(&uv.ref, "uv_ref") && look_up(&uv.unref, "uv_unref") &&
           look_up(&uv.set_data, "uv_handle_set_data") && look_up(&uv.get_data, "uv_handle_get_data");
}

static void on_poll(uv_handle *handle, int status, int events) {
  struct fdp_watcher *watcher = uv.get_data(handle);
  int ready = 0;
  if (events & (UV_READABLE | UV_DISCONNECT))
    ready |= FDP_READABLE;
  if (events & UV_WRITABLE)
    ready |= FDP_WRITABLE;
  /* libuv stops watching on a socket error, and reports EBADF whatever the error was. The next call on the socket tells
   * the real one. */
  if (status < 0)
    ready = FDP_READABLE | FDP_WRITABLE | FDP_STOPPED;
  watcher->ready(watcher, watcher->data, ready);
}

static int uv_poller_open(void *loop, int fd, fdp_ready ready, void *data, struct fdp_watcher **watcher) {
  pthread_once(&once, load);
  if (!loaded)
    return -ENOSYS;
  struct fdp_watcher *made = calloc(1, sizeof *made);
  if (!made)
    return -ENOMEM;
  made->handle = calloc(1, uv.handle_size(UV_POLL));
  if (!made->handle) {
    free(made);
    return -ENOMEM;
  }
  /* uv_poll_init makes the descriptor non-blocking. A poller must not decide that, so it is put back. */
  int flags = fcntl(fd, F_GETFL);
  int error = uv.poll_init(loop, made->handle, fd);
  if (error) {
    free(made->handle);
    free(made);
    return error;
  }
  if (flags >= 0 && !(flags & O_NONBLOCK))
    fcntl(fd, F_SETFL, flags);
  uv.set_data(made->handle, made);
  uv.unref(made->handle);
  made->ready = ready;
  made->data = data;
  *watcher = made;
  return 0;
}

static int uv_poller_set(struct fdp_watcher *watcher, int events) {
  int mask = (events & FDP_READABLE ? UV_READABLE | UV_DISCONNECT : 0) | (events & FDP_WRITABLE ? UV_WRITABLE : 0);
  return mask ? uv.poll_start(watcher->handle, mask, on_poll) : uv.poll_stop(watcher->handle);
}

static void uv_poller_keep_alive(struct fdp_watcher *watcher, int flag) {
  if (flag)
    uv.ref(watcher->handle);
  else
    uv.unref(watcher->handle);
}

static void on_close(uv_handle *handle) {
  struct fdp_watcher *watcher = uv.get_data(handle);
  fdp_gone gone = watcher->gone;
  void *data = watcher->data;
  free(handle);
  free(watcher);
  gone(data);
}

static void uv_poller_close(struct fdp_watcher *watcher, fdp_gone gone) {
  watcher->gone = gone;
  uv.poll_stop(watcher->handle);
  uv.close(watcher->handle, on_close);
}

const struct fdp_poller fdp_uv_poller = {uv_poller_open, uv_poller_set, uv_poller_keep_alive, uv_poller_close};
