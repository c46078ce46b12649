"""A client of Pannier in Python: cart.py HOST:PORT, of a gateway or a replica.

Ada fills a cart on her phone; Bob, in another session, adds to it as well; then Ada removes what she
saw. What the rules are and why: docs/client-protocol.md. Exits non-zero if anything is not as said.
"""
import secrets
import sys
import time

import grpc
from pannier.v1 import carts_pb2 as pb, carts_pb2_grpc, execute_pb2, execute_pb2_grpc

TOKEN = "pannier-token-bin"
AGAIN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def op_id() -> bytes:
    """One intent: a UUID of version 7. Every retry of the intent carries the same one."""
    chance = secrets.randbits(74)
    head = (time.time_ns() // 1_000_000) << 16 | 7 << 12 | chance >> 62
    return (head << 64 | 0b10 << 62 | chance & (1 << 62) - 1).to_bytes(16, "big")


class Session:
    """What one user has written and read: no answer shows less."""

    token = b""

    def call(self, method, request, tries=5):
        """One request at a time; whatever went wrong, sending the same op id again is harmless."""
        metadata = [(TOKEN, self.token)] if self.token else []
        try:
            answer, call = method.with_call(request, timeout=10, metadata=metadata)
        except grpc.RpcError as error:
            if error.code() not in AGAIN or tries == 1:
                raise
            time.sleep(0.2)
            return self.call(method, request, tries - 1)
        self.token = dict(call.initial_metadata()).get(TOKEN, self.token)
        return answer


def expect(what, got, want):
    print(f"{what}: {got}")
    if got != want:
        sys.exit(f"expected {want}")


def lines(cart):
    return {line.product.decode(): line.quantity for line in cart.lines}


def main(address):
    channel = grpc.insecure_channel(address)
    carts, ada, bob = carts_pb2_grpc.CartsStub(channel), Session(), Session()
    cart = {"namespace": b"shop", "cart": b"ada-" + secrets.token_hex(8).encode()}

    add = pb.AddToCart(op_id=op_id(), product=b"lamp", quantity=2, **cart)
    ada.call(carts.Add, add)
    shown = ada.call(carts.Get, pb.GetCart(**cart))
    expect("the same session reads", lines(shown), {"lamp": 2})
    expect("a retry is done again", ada.call(carts.Add, add).HasField("dot"), False)
    expect("counted once", lines(ada.call(carts.Get, pb.GetCart(**cart))), {"lamp": 2})

    bob.token = ada.token  # Bob goes on from what Ada has seen, and then Ada from what he has.
    bob.call(carts.Add, pb.AddToCart(op_id=op_id(), product=b"lamp", quantity=1, **cart))
    ada.token = bob.token
    remove = pb.RemoveFromCart(op_id=op_id(), product=b"lamp", seen=shown.seen, **cart)
    ada.call(carts.Remove, remove)
    expect("what Ada did not see stays", lines(ada.call(carts.Get, pb.GetCart(**cart))), {"lamp": 1})

    # Many at once on one stream: a read sees the stream's earlier writes.
    command, stream = execute_pb2.Command, execute_pb2_grpc.ExecutorStub(channel)
    teas = [pb.AddToCart(op_id=op_id(), product=b"tea", quantity=1, **cart) for _ in range(100)]
    asked = [command(request_id=n, token=ada.token, add_to_cart=tea) for n, tea in enumerate(teas)]
    asked.append(command(request_id=100, token=ada.token, get_cart=pb.GetCart(**cart)))
    message = execute_pb2.ExecuteRequest(commands=asked)
    answers = [a for said in stream.Execute(iter([message]), timeout=10) for a in said.answers]
    expect("answered on the stream", len({a.request_id for a in answers}), 101)
    read = next(a for a in answers if a.request_id == 100)
    expect("read on the stream", lines(read.cart), {"lamp": 1, "tea": 100})


if __name__ == "__main__":
    main(sys.argv[1])
