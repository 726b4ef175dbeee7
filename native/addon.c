/*
 * Connects Node-API to fdpasser.h: it converts arguments and results, and handles the life of one environment (the main
 * thread or a worker). src/native/addon.ts has the types of what is exported here.
 */
#include "fdpasser.h"

#include <assert.h>
#include <errno.h>
#include <node_api.h>
#include <stdlib.h>
#ifdef __APPLE__
#include <dlfcn.h>
#endif

struct watch;

/* What JavaScript writes and reads by itself, because that takes less time than arguments do. */
struct shared {
  struct fdp_demand demand;
  struct fdp_batch batch;
};

struct addon {
  napi_env env;
  napi_async_context context;
  napi_async_cleanup_hook_handle hook; /* used by the poller on libuv */
  const struct fdp_demand *demand;     /* both inside an ArrayBuffer that the exports keep alive */
  struct fdp_batch *batch;
  struct fdp_ledger ledger;
  const struct fdp_poller *poller;
  void *loop;
  struct fdp_mailbox *mailbox; /* what the poller with a thread has as its loop */
  napi_threadsafe_function wake;
  struct watch *watches;
  int ended;
};

struct watch {
  struct addon *addon;
  struct fdp_watcher *watcher;
  napi_ref owner; /* whose method `ready` is called */
  struct watch *next, **link;
  int closing;
};

/* ---- conversions ------------------------------------------------------------------------------------------------ */

/* Whether a Node-API call succeeded. If not, an exception is pending. */
static int ok(napi_env env, napi_status status) {
  if (status == napi_ok)
    return 1;
  int pending = 0;
  bool is_pending = false;
  if (napi_is_exception_pending(env, &is_pending) == napi_ok)
    pending = is_pending;
  if (!pending) {
    const napi_extended_error_info *info = NULL;
    napi_get_last_error_info(env, &info);
    napi_throw_error(env, NULL, info && info->error_message ? info->error_message : "fdpasser: a Node-API call failed");
  }
  return 0;
}

enum { MOST_ARGUMENTS = 4 };

struct call {
  struct addon *addon;
  napi_value argument[MOST_ARGUMENTS];
};

static int open_call(napi_env env, napi_callback_info info, struct call *call) {
  size_t count = MOST_ARGUMENTS;
  void *data;
  if (!ok(env, napi_get_cb_info(env, info, &count, call->argument, NULL, &data)))
    return 0;
  call->addon = data;
  return 1;
}

static int integer(napi_env env, napi_value value, int32_t *number) {
  return ok(env, napi_get_value_int32(env, value, number));
}

static int bytes(napi_env env, napi_value value, uint8_t **data, size_t *length) {
  napi_typedarray_type type;
  void *pointer;
  if (!ok(env, napi_get_typedarray_info(env, value, &type, length, &pointer, NULL, NULL)))
    return 0;
  *data = pointer;
  return 1;
}

static napi_value result(napi_env env, int number) {
  napi_value value;
  return ok(env, napi_create_int32(env, number, &value)) ? value : NULL;
}

/* Records that these numbers belong to this environment from now on, and came from `origin`. */
static void own(struct addon *addon, const int32_t *fd, int count, fdp_origin origin) {
  fdp_ledger_take(&addon->ledger, fd, count);
  for (int i = 0; i < count; i++)
    fdp_set_origin(fd[i], origin);
}

/* Records the same of one descriptor, unless it is an errno. Returns it. */
static int owned_from(struct addon *addon, int fd, fdp_origin origin) {
  if (fd >= 0)
    own(addon, &fd, 1, origin);
  return fd;
}

static int owned(struct addon *addon, int fd) { return owned_from(addon, fd, 0); }

/* Defines an exported function that takes one integer and returns `expression`, in which the integer has the name
 * `number`. */
#define OF_INTEGER(name, number, expression)                                      \
  static napi_value name(napi_env env, napi_callback_info info) {                 \
    struct call call;                                                             \
    int32_t number;                                                               \
    if (!open_call(env, info, &call) || !integer(env, call.argument[0], &number)) \
      return NULL;                                                                \
    struct addon *addon = call.addon;                                             \
    (void)addon;                                                                  \
    return result(env, (expression));                                             \
  }

/* Does the same for a function that takes an integer and bytes. */
#define OF_INTEGER_AND_BYTES(name, number, data, length, expression)                \
  static napi_value name(napi_env env, napi_callback_info info) {                   \
    struct call call;                                                               \
    int32_t number;                                                                 \
    uint8_t *data;                                                                  \
    size_t length;                                                                  \
    if (!open_call(env, info, &call) || !integer(env, call.argument[0], &number) || \
        !bytes(env, call.argument[1], &data, &length))                              \
      return NULL;                                                                  \
    return result(env, (expression));                                               \
  }

/* ---- transport -------------------------------------------------------------------------------------------------- */

OF_INTEGER(socket_type_of, fd, fdp_socket_type(fd))
OF_INTEGER(is_socket, fd, fdp_is_socket(fd))

/* Attaches to a socket. What comes through it has a new origin, which stands for its peer. */
static int attach_to(int fd) {
  int result = fdp_attach(fd);
  if (result >= 0)
    fdp_set_origin_through(fd, fdp_new_origin());
  return result;
}

OF_INTEGER(attach, fd, attach_to(fd))
OF_INTEGER(pending, fd, fdp_pending(fd))
OF_INTEGER(hung_up, fd, fdp_hung_up(fd))

static napi_value detach(napi_env env, napi_callback_info info) {
  struct call call;
  int32_t socket, attached;
  if (open_call(env, info, &call) && integer(env, call.argument[0], &socket) &&
      integer(env, call.argument[1], &attached))
    fdp_detach(socket, attached);
  return NULL;
}

OF_INTEGER(end_sending, fd, fdp_end_sending(fd))

static napi_value send_batch(napi_env env, napi_callback_info info) {
  struct call call;
  int32_t socket, messages;
  uint8_t *data;
  size_t length;
  if (!open_call(env, info, &call) || !integer(env, call.argument[0], &socket) ||
      !bytes(env, call.argument[1], &data, &length) || !integer(env, call.argument[2], &messages))
    return NULL;
  return result(env, fdp_send(socket, data, call.addon->batch, messages));
}

static int receive_into(struct addon *addon, int socket, uint8_t *room) {
  struct fdp_batch *batch = addon->batch;
  fdp_origin origin = fdp_origin_through(socket);
  if (fdp_is_crowded(origin))
    return -ENOBUFS;
  int received = fdp_receive(socket, room, addon->demand, batch), count = 0;
  for (int i = 0; i < received; i++)
    count += batch->count[i];
  own(addon, batch->fd, count, origin);
  return received;
}

OF_INTEGER_AND_BYTES(receive_batch, socket, room, length, ((void)length, receive_into(call.addon, socket, room)))
OF_INTEGER_AND_BYTES(single, socket, data, length, fdp_single(socket, data, length))

/* ---- endpoints -------------------------------------------------------------------------------------------------- */

static napi_value pair(napi_env env, napi_callback_info info) {
  struct call call;
  int32_t type;
  int ends[2];
  if (!open_call(env, info, &call) || !integer(env, call.argument[0], &type))
    return NULL;
  int error = fdp_pair((enum fdp_type)type, ends);
  if (!error)
    for (int i = 0; i < 2; i++)
      call.addon->batch->fd[i] = owned(call.addon, ends[i]);
  return result(env, error);
}

static napi_value listen_at(napi_env env, napi_callback_info info) {
  struct call call;
  int32_t type, mode, backlog;
  uint8_t *name;
  size_t length;
  if (!open_call(env, info, &call) || !integer(env, call.argument[0], &type) ||
      !bytes(env, call.argument[1], &name, &length) || !integer(env, call.argument[2], &mode) ||
      !integer(env, call.argument[3], &backlog))
    return NULL;
  return result(env, owned(call.addon, fdp_listen((enum fdp_type)type, (char *)name, length, (unsigned)mode, backlog)));
}

static napi_value connect_to(napi_env env, napi_callback_info info) {
  struct call call;
  int32_t type;
  uint8_t *name;
  size_t length;
  if (!open_call(env, info, &call) || !integer(env, call.argument[0], &type) ||
      !bytes(env, call.argument[1], &name, &length))
    return NULL;
  return result(env, owned(call.addon, fdp_connect((enum fdp_type)type, (char *)name, length)));
}

static fdp_origin origin_of_accepted(int listener) {
  fdp_origin origin = fdp_origin_through(listener);
  if (!origin)
    fdp_set_origin_through(listener, origin = fdp_new_origin());
  return origin;
}

static int accept_into(struct addon *addon, int listener) {
  fdp_origin origin = origin_of_accepted(listener);
  return fdp_is_crowded(origin) ? -ENOBUFS : owned_from(addon, fdp_accept(listener), origin);
}

OF_INTEGER(accept_from, fd, accept_into(addon, fd))

OF_INTEGER_AND_BYTES(name_of, fd, name, room, fdp_name(fd, (char *)name, room))

static napi_value set_mode(napi_env env, napi_callback_info info) {
  struct call call;
  uint8_t *path;
  size_t length;
  int32_t bound, mode;
  if (!open_call(env, info, &call) || !bytes(env, call.argument[0], &path, &length) ||
      !integer(env, call.argument[1], &bound) || !integer(env, call.argument[2], &mode))
    return NULL;
  return result(env, fdp_set_mode((char *)path, (unsigned)bound, (unsigned)mode));
}

static napi_value lock(napi_env env, napi_callback_info info) {
  struct call call;
  uint8_t *file;
  size_t length;
  if (!open_call(env, info, &call) || !bytes(env, call.argument[0], &file, &length))
    return NULL;
  return result(env, owned(call.addon, fdp_lock((char *)file)));
}

/* Writes pid, uid and gid to the batch. */
static int peer_into(struct addon *addon, int fd) {
  struct fdp_peer peer;
  int error = fdp_peer(fd, &peer);
  if (!error) {
    addon->batch->fd[0] = (int32_t)peer.pid;
    addon->batch->fd[1] = (int32_t)peer.uid;
    addon->batch->fd[2] = (int32_t)peer.gid;
  }
  return error;
}

OF_INTEGER(peer, fd, peer_into(addon, fd))

/* ---- TCP -------------------------------------------------------------------------------------------------------- */

static napi_value tcp_listen(napi_env env, napi_callback_info info) {
  struct call call;
  uint8_t *address;
  size_t length;
  int32_t port, flags, backlog;
  if (!open_call(env, info, &call) || !bytes(env, call.argument[0], &address, &length) ||
      !integer(env, call.argument[1], &port) || !integer(env, call.argument[2], &flags) ||
      !integer(env, call.argument[3], &backlog))
    return NULL;
  return result(env, owned(call.addon, fdp_tcp_listen((char *)address, port, flags, backlog)));
}

OF_INTEGER_AND_BYTES(tcp_name, fd, into, room,
                     room < sizeof(struct fdp_address) ? -EINVAL : fdp_tcp_name(fd, (struct fdp_address *)into))

static_assert(sizeof(struct fdp_address) == 50, "src/native/addon.ts has this number");

/* Writes the connections to the batch, and their addresses to the bytes. Only processes that are trusted get them, if
 * `trusted` is not 0. */
static napi_value accept_many(napi_env env, napi_callback_info info) {
  struct call call;
  int32_t listener, most, trusted;
  uint8_t *into;
  size_t room;
  if (!open_call(env, info, &call) || !integer(env, call.argument[0], &listener) ||
      !integer(env, call.argument[1], &most) || !bytes(env, call.argument[2], &into, &room) ||
      !integer(env, call.argument[3], &trusted))
    return NULL;
  if ((size_t)most > room / sizeof(struct fdp_address))
    return result(env, -EINVAL);
  /* Whoever is given one later can make it linger, between the question and the close: so it is closed as a peer's. */
  fdp_origin origin = origin_of_accepted(listener);
  if (fdp_is_crowded(origin))
    return result(env, -ENOBUFS);
  int accepted = fdp_accept_many(listener, most, call.addon->batch->fd, (struct fdp_address *)into);
  if (accepted > 0)
    own(call.addon, call.addon->batch->fd, accepted, trusted ? FDP_TRUSTED : origin);
  return result(env, accepted);
}

OF_INTEGER_AND_BYTES(peek_bytes, fd, into, room, fdp_peek_bytes(fd, into, room))

/* ---- descriptors ------------------------------------------------------------------------------------------------ */

static napi_value adopt(napi_env env, napi_callback_info info) {
  struct call call;
  int32_t fd, closer;
  if (!open_call(env, info, &call) || !integer(env, call.argument[0], &fd) || !integer(env, call.argument[1], &closer))
    return NULL;
  int error = fdp_ledger_adopt(&call.addon->ledger, fd, (enum fdp_closer)closer);
  if (!error)
    fdp_set_origin(fd, 0);
  return result(env, error);
}

static int release_from(struct addon *addon, int fd) {
  fdp_ledger_release(&addon->ledger, fd);
  fdp_set_origin(fd, 0);
  return 0;
}

OF_INTEGER(release, fd, release_from(addon, fd))
OF_INTEGER(hand_over, fd, (fdp_ledger_hand_over(&addon->ledger, fd), 0))
/* Returns nothing if it succeeds, because to make a number takes as long as all else here. */
static napi_value close_owned(napi_env env, napi_callback_info info) {
  struct call call;
  int32_t fd;
  if (!open_call(env, info, &call) || !integer(env, call.argument[0], &fd))
    return NULL;
  int error = fdp_ledger_close(&call.addon->ledger, fd);
  return error ? result(env, error) : NULL;
}

OF_INTEGER(close_alone, fd, fdp_ledger_close_alone(&addon->ledger, fd))
OF_INTEGER(close_all, count, (fdp_ledger_close_all(&addon->ledger, addon->batch->fd, count), 0))
OF_INTEGER(is_lent, fd, fdp_ledger_is_lent(fd))
OF_INTEGER(vacated, fd, (fdp_vacated(fd), 0))

static int vacate_owned(struct addon *addon, int fd) {
  int error = fdp_vacate(fd);
  if (!error)
    fdp_ledger_release(&addon->ledger, fd);
  return error;
}

OF_INTEGER(vacate, fd, vacate_owned(addon, fd))

/* Identities have more bits than the results of the other functions. */
static napi_value identity_of(napi_env env, napi_callback_info info, int lend) {
  struct call call;
  int32_t fd;
  napi_value value;
  if (!open_call(env, info, &call) || !integer(env, call.argument[0], &fd))
    return NULL;
  int64_t identity = lend ? fdp_ledger_lend(&call.addon->ledger, fd) : fdp_identity(fd);
  return ok(env, napi_create_int64(env, identity, &value)) ? value : NULL;
}

static napi_value end_loan(napi_env env, napi_callback_info info) {
  struct call call;
  int32_t fd;
  int64_t what;
  if (!open_call(env, info, &call) || !integer(env, call.argument[0], &fd) ||
      !ok(env, napi_get_value_int64(env, call.argument[1], &what)))
    return NULL;
  return result(env, fdp_ledger_end_loan(&call.addon->ledger, fd, what));
}

static napi_value identity(napi_env env, napi_callback_info info) { return identity_of(env, info, 0); }
static napi_value lend(napi_env env, napi_callback_info info) { return identity_of(env, info, 1); }

OF_INTEGER(check, fd, fdp_check(fd))
OF_INTEGER(kind, fd, fdp_kind(fd))
OF_INTEGER(listening, fd, fdp_listening(fd))
OF_INTEGER(ipv6, fd, fdp_ipv6(fd))
OF_INTEGER(access_of, fd, fdp_access(fd))
OF_INTEGER(duplicate, fd, owned_from(addon, fdp_dup(fd), fdp_origin_of(fd)))
OF_INTEGER(close_on_exec, fd, fdp_close_on_exec(fd))
OF_INTEGER(set_nonblocking, fd, fdp_nonblocking(fd, 1))
OF_INTEGER(set_blocking, fd, fdp_nonblocking(fd, 0))

OF_INTEGER(grow_table, slots, fdp_table_grow(slots))

static napi_value table_slots(napi_env env, napi_callback_info info) {
  (void)info;
  return result(env, fdp_table_slots());
}

static napi_value own_pidfd(napi_env env, napi_callback_info info) {
  struct call call;
  return open_call(env, info, &call) ? result(env, owned(call.addon, fdp_pidfd())) : NULL;
}

static napi_value diag_socket(napi_env env, napi_callback_info info) {
  struct call call;
  return open_call(env, info, &call) ? result(env, owned(call.addon, fdp_diag_socket())) : NULL;
}

/* ---- watching --------------------------------------------------------------------------------------------------- */

static void on_ready(struct fdp_watcher *watcher, void *data, int events) {
  struct watch *watch = data;
  napi_env env = watch->addon->env;
  napi_handle_scope scope;
  napi_value owner, ready, argument, nothing;
  (void)watcher;

  if (napi_open_handle_scope(env, &scope) != napi_ok)
    return;
  if (ok(env, napi_get_reference_value(env, watch->owner, &owner)) &&
      ok(env, napi_get_named_property(env, owner, "ready", &ready)) &&
      ok(env, napi_create_int32(env, events, &argument))) {
    /* Deno always writes the result, so it needs a place. If there is an exception, its status is not the same as
     * Node's. */
    napi_status status = napi_make_callback(env, watch->addon->context, owner, ready, 1, &argument, &nothing);
    bool thrown = false;
    napi_value error;
    if (status != napi_ok && napi_is_exception_pending(env, &thrown) == napi_ok && thrown &&
        napi_get_and_clear_last_exception(env, &error) == napi_ok)
      napi_fatal_exception(env, error);
  }
  napi_close_handle_scope(env, scope);
}

/* Frees what an ended environment had here, once nothing refers to it any more. */
static void finish(struct addon *addon) {
  if (!addon->ended || addon->watches || addon->wake)
    return;
  if (addon->hook)
    napi_remove_async_cleanup_hook(addon->hook);
  free(addon);
}

static void on_gone(void *data) {
  struct watch *watch = data;
  struct addon *addon = watch->addon;
  *watch->link = watch->next;
  if (watch->next)
    watch->next->link = watch->link;
  free(watch);
  finish(addon);
}

static void stop_watching(struct watch *watch) {
  watch->closing = 1;
  watch->addon->poller->close(watch->watcher, on_gone);
}

static napi_value watch(napi_env env, napi_callback_info info) {
  struct call call;
  int32_t fd;
  napi_value value;
  if (!open_call(env, info, &call) || !integer(env, call.argument[0], &fd))
    return NULL;
  struct watch *made = calloc(1, sizeof *made);
  if (!made)
    return result(env, -ENOMEM);
  int error = call.addon->poller->open(call.addon->loop, fd, on_ready, made, &made->watcher);
  if (error) {
    free(made);
    return result(env, error);
  }
  made->addon = call.addon;
  made->next = call.addon->watches;
  made->link = &call.addon->watches;
  if (made->next)
    made->next->link = &made->next;
  call.addon->watches = made;
  if (!ok(env, napi_create_reference(env, call.argument[1], 1, &made->owner)) ||
      !ok(env, napi_create_external(env, made, NULL, NULL, &value))) {
    stop_watching(made);
    return NULL;
  }
  return value;
}

static struct watch *watch_argument(napi_env env, napi_value value) {
  void *data;
  return ok(env, napi_get_value_external(env, value, &data)) ? data : NULL;
}

static napi_value watch_for(napi_env env, napi_callback_info info) {
  struct call call;
  struct watch *watch;
  int32_t events;
  if (!open_call(env, info, &call) || !(watch = watch_argument(env, call.argument[0])) ||
      !integer(env, call.argument[1], &events))
    return NULL;
  return result(env, call.addon->poller->set(watch->watcher, events));
}

static napi_value keep_alive(napi_env env, napi_callback_info info) {
  struct call call;
  struct watch *watch;
  bool flag;
  if (!open_call(env, info, &call) || !(watch = watch_argument(env, call.argument[0])) ||
      !ok(env, napi_get_value_bool(env, call.argument[1], &flag)))
    return NULL;
  call.addon->poller->keep_alive(watch->watcher, flag);
  return NULL;
}

static napi_value unwatch(napi_env env, napi_callback_info info) {
  struct call call;
  struct watch *watch;
  if (!open_call(env, info, &call) || !(watch = watch_argument(env, call.argument[0])))
    return NULL;
  ok(env, napi_delete_reference(env, watch->owner));
  stop_watching(watch);
  return NULL;
}

/* ---- the environment -------------------------------------------------------------------------------------------- */

/* Stops watching, then closes what the environment owned. JavaScript may have been stopped at any moment, and does not
 * run again. */
static void end(struct addon *addon) {
  for (struct watch *watch = addon->watches, *next; watch; watch = next) {
    next = watch->next;
    if (!watch->closing)
      stop_watching(watch);
  }
  fdp_ledger_end(&addon->ledger);
  addon->ended = 1;
  finish(addon);
}

/* ---- libuv's poller --------------------------------------------------------------------------------------------- */

/* Node aborts if an environment ends before its libuv handles are closed. So this hook is finished only when they are
 * closed. */
static void on_uv_end(napi_async_cleanup_hook_handle hook, void *data) {
  (void)hook;
  end(data);
}

static napi_value use_uv(napi_env env, struct addon *addon) {
  struct uv_loop_s *loop;
  if (!ok(env, napi_get_uv_event_loop(env, &loop)) ||
      !ok(env, napi_add_async_cleanup_hook(env, on_uv_end, addon, &addon->hook)))
    return NULL;
  addon->loop = loop;
  addon->poller = &fdp_uv_poller;
  return result(env, 0);
}

/* ---- the poller that has a thread ------------------------------------------------------------------------------- */

static void wake(void *data) {
  struct addon *addon = data;
  napi_call_threadsafe_function(addon->wake, NULL, napi_tsfn_nonblocking);
}

static void hold(void *data, int flag) {
  struct addon *addon = data;
  if (flag)
    napi_ref_threadsafe_function(addon->env, addon->wake);
  else
    napi_unref_threadsafe_function(addon->env, addon->wake);
}

static napi_value deliver(napi_env env, napi_callback_info info) {
  struct call call;
  if (open_call(env, info, &call) && call.addon->mailbox)
    fdp_mailbox_deliver(call.addon->mailbox);
  return NULL;
}

/* Called for each wake-up. For those that remain when the environment has ended it is called without an environment. */
static void on_wake(napi_env env, napi_value woken, void *context, void *nothing) {
  struct addon *addon = context;
  napi_value receiver, result_of_it;
  (void)nothing;
  if (env && addon->mailbox && ok(env, napi_get_global(env, &receiver)))
    ok(env, napi_call_function(env, receiver, woken, 0, NULL, &result_of_it));
}

static void on_wake_gone(napi_env env, void *nothing, void *context) {
  struct addon *addon = context;
  (void)env;
  (void)nothing;
  addon->wake = NULL;
  finish(addon);
}

/*
 * Closes the mailbox before the thread-safe function ends, because the poller's thread would still call that function.
 * The memory is freed when the function has ended.
 */
static void on_thread_end(void *data) {
  struct addon *addon = data;
  struct fdp_mailbox *mailbox = addon->mailbox;
  napi_threadsafe_function function = addon->wake;
  addon->mailbox = NULL;
  end(addon);
  fdp_mailbox_close(mailbox);
  napi_release_threadsafe_function(function, napi_tsfn_abort);
}

/*
 * An environment ends first what was added to it last, so the hook is added after the function. It is no asynchronous
 * hook: those must be removed when they have finished, but Deno frees them itself.
 */
static napi_value use_thread(napi_env env, struct addon *addon, napi_value woken) {
  const struct fdp_mailbox_owner owner = {.wake = wake, .hold = hold, .data = addon};
  napi_value name;
  int error = fdp_mailbox_open(&owner, &addon->mailbox);
  if (error)
    return result(env, error);
  if (!ok(env, napi_create_string_utf8(env, "fdpasser", NAPI_AUTO_LENGTH, &name)) ||
      !ok(env, napi_create_threadsafe_function(env, woken, NULL, name, 0, 1, NULL, on_wake_gone, addon, on_wake,
                                               &addon->wake)) ||
      !ok(env, napi_unref_threadsafe_function(env, addon->wake)) ||
      !ok(env, napi_add_env_cleanup_hook(env, on_thread_end, addon)))
    return NULL;
  addon->loop = addon->mailbox;
  addon->poller = &fdp_thread_poller;
  return result(env, 0);
}

/* Chooses the poller, before anything is watched. The first argument is true for the poller with a thread, which calls
 * the second one when there is something to deliver. If two copies of the JavaScript are in one environment, the first
 * one to call this decides. */
static napi_value use_poller(napi_env env, napi_callback_info info) {
  struct call call;
  bool thread;
  if (!open_call(env, info, &call) || !ok(env, napi_get_value_bool(env, call.argument[0], &thread)))
    return NULL;
  if (call.addon->poller)
    return result(env, 0);
  return thread ? use_thread(env, call.addon, call.argument[1]) : use_uv(env, call.addon);
}

static int export_function(napi_env env, napi_value exports, const char *name, napi_callback function, void *data) {
  napi_value value;
  return ok(env, napi_create_function(env, name, NAPI_AUTO_LENGTH, function, data, &value)) &&
         ok(env, napi_set_named_property(env, exports, name, value));
}

static int export_batch(napi_env env, napi_value exports, struct addon *addon) {
  napi_value buffer;
  napi_ref forever;
  void *data;
  if (!ok(env, napi_create_arraybuffer(env, sizeof(struct shared), &data, &buffer)) ||
      !ok(env, napi_create_reference(env, buffer, 1, &forever)) ||
      !ok(env, napi_set_named_property(env, exports, "batch", buffer)))
    return 0;
  struct shared *shared = data;
  addon->demand = &shared->demand;
  addon->batch = &shared->batch;
  return 1;
}

/* Keeps the addon loaded. The end of a worker unloads its addons, and another thread may be running this one. On
 * systems other than macOS the linker's option nodelete does this. */
static void stay_loaded(void) {
#ifdef __APPLE__
  Dl_info self;
  if (dladdr((void *)(uintptr_t)stay_loaded, &self))
    dlopen(self.dli_fname, RTLD_LAZY);
#endif
}

NAPI_MODULE_INIT() {
  static const struct {
    const char *name;
    napi_callback function;
  } functions[] = {
      {"socketType", socket_type_of},
      {"isSocket", is_socket},
      {"attach", attach},
      {"detach", detach},
      {"send", send_batch},
      {"receive", receive_batch},
      {"pending", pending},
      {"hungUp", hung_up},
      {"single", single},
      {"endSending", end_sending},
      {"pair", pair},
      {"listen", listen_at},
      {"connect", connect_to},
      {"accept", accept_from},
      {"name", name_of},
      {"tcpListen", tcp_listen},
      {"tcpName", tcp_name},
      {"acceptMany", accept_many},
      {"peekBytes", peek_bytes},
      {"peer", peer},
      {"adopt", adopt},
      {"release", release},
      {"handOver", hand_over},
      {"lend", lend},
      {"endLoan", end_loan},
      {"isLent", is_lent},
      {"identity", identity},
      {"vacate", vacate},
      {"vacated", vacated},
      {"close", close_owned},
      {"closeAlone", close_alone},
      {"closeAll", close_all},
      {"check", check},
      {"kind", kind},
      {"listening", listening},
      {"ipv6", ipv6},
      {"access", access_of},
      {"dup", duplicate},
      {"closeOnExec", close_on_exec},
      {"setNonblocking", set_nonblocking},
      {"setBlocking", set_blocking},
      {"lock", lock},
      {"setMode", set_mode},
      {"pidfd", own_pidfd},
      {"diagSocket", diag_socket},
      {"tableSlots", table_slots},
      {"growTable", grow_table},
      {"usePoller", use_poller},
      {"deliver", deliver},
      {"watch", watch},
      {"watchFor", watch_for},
      {"keepAlive", keep_alive},
      {"unwatch", unwatch},
  };
  napi_value name;
  stay_loaded();
#if FDP_LANDING
  fdp_prepare_landing();
#endif
  struct addon *addon = calloc(1, sizeof *addon);
  if (!addon) {
    napi_throw_error(env, NULL, "fdpasser: out of memory");
    return NULL;
  }
  addon->env = env;
  fdp_ledger_open(&addon->ledger);
  if (!export_batch(env, exports, addon) ||
      !ok(env, napi_create_string_utf8(env, "fdpasser", NAPI_AUTO_LENGTH, &name)) ||
      !ok(env, napi_async_init(env, NULL, name, &addon->context)))
    goto fail;
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
    if (!export_function(env, exports, functions[i].name, functions[i].function, addon))
      goto fail;
  return exports;
fail:
  free(addon);
  return NULL;
}
