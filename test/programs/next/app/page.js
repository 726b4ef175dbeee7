export const dynamic = 'force-dynamic';

// oxlint-disable-next-line import/no-default-export -- Next.js takes that
export default function Page() {
  return <p>{`pid ${process.pid}`}</p>;
}
