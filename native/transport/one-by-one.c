/* Sends and receives where one system call carries one message, and nothing puts a received message back. */
#include "transport.h"

#include <errno.h>

static ssize_t put(int socket, const uint8_t *bytes, size_t size, const int32_t *fd, int count) {
#if FDP_HOLD
  struct fdp_held *held;
  int error = fdp_hold(socket, fd, count, &held);
  if (error)
    return error;
  ssize_t length = fdp_put(socket, bytes, size, fd, count);
  fdp_hold_end(held, length >= 0);
  return length;
#else
  return fdp_put(socket, bytes, size, fd, count);
#endif
}

int fdp_send(int socket, const uint8_t *bytes, struct fdp_batch *batch, int messages) {
  const int32_t *fd = batch->fd;
  for (int i = 0; i < messages; i++) {
    ssize_t length = put(socket, bytes, (size_t)batch->size[i], fd, batch->count[i]);
    if (length < 0)
      return i > 0 ? i : (int)length;
    batch->tail = (int32_t)length;
    if (length < batch->size[i])
      return i + 1;
    bytes += batch->size[i];
    fd += batch->count[i];
  }
  return messages;
}

int fdp_receive(int socket, uint8_t *bytes, const struct fdp_demand *demand, struct fdp_batch *batch) {
  int result = fdp_look(socket, bytes, demand->stride);
  if (result <= 0)
    return result;
  if ((result = fdp_reserve(demand->expected)))
    return result;
  result = fdp_take(socket, bytes, demand->stride, &batch->size[0], batch->fd, &batch->count[0]);
  fdp_reserve_end();
  return result;
}

/* A peek shows no descriptors here, so it cannot tell how many slots they need. */
int fdp_single(int socket, uint8_t *bytes, size_t length) {
  (void)socket;
  (void)bytes;
  (void)length;
  return 0;
}
