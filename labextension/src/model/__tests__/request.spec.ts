import { ServerConnection } from '@jupyterlab/services';
import { describe, expect, it } from 'vitest';

import golden from '../../../../tests/contract/overview.json';
import { Api } from '../api';

const ID = 'fu-0000000000000000000001';

/** Settings whose fetch gives one fixed answer and notes what was asked. */
function answering(status: number, body: string, asked: Request[] = []) {
  return ServerConnection.makeSettings({
    baseUrl: 'http://localhost/base/',
    token: '',
    fetch: (input: RequestInfo | URL, init?: RequestInit) => {
      asked.push(new Request(input, init));
      return Promise.resolve(new Response(body, { status }));
    }
  });
}

describe('the api', () => {
  it('passes the golden overview on as it is', async () => {
    const asked: Request[] = [];
    const api = new Api(answering(200, JSON.stringify(golden), asked));
    expect(await api.overview()).toEqual(golden);
    expect(asked[0].url).toContain('http://localhost/base/nbfn/api/overview');
  });

  it('sends a warm number and returns the settings of the answer', async () => {
    const asked: Request[] = [];
    const now = {
      min_containers: 2,
      max_containers: 8,
      buffer_containers: 0,
      scaledown_window: 60
    };
    const api = new Api(answering(200, JSON.stringify(now), asked));
    expect(await api.setAutoscaler(ID, { min_containers: 2 })).toEqual(now);
    expect(asked[0].method).toBe('PATCH');
    expect(asked[0].url).toContain(`/nbfn/api/functions/${ID}/autoscaler`);
    expect(await asked[0].json()).toEqual({ min_containers: 2 });
  });

  it.each([
    [400, '{"message": "warm is above max."}', 'warm is above max.'],
    [404, '{"message": "No call has that id."}', 'No call has that id.'],
    [404, '{"message": "Not Found"}', /server extension is missing/],
    [403, '<html>', /log in again/],
    [500, '', /status 500/]
  ])('makes a sentence of %i %s', async (status, body, sentence) => {
    await expect(
      new Api(answering(status, body)).setAutoscaler(ID, {})
    ).rejects.toThrow(sentence);
  });

  it('names the field that the server names', async () => {
    const body = '{"message": "x is missing.", "field": "x"}';
    const refused = new Api(answering(400, body)).call(ID, {});
    await expect(refused).rejects.toMatchObject({ field: 'x', status: 400 });
  });

  it('sends a query with all its values', async () => {
    const asked: Request[] = [];
    const api = new Api(answering(200, '{}', asked));
    await api.calls({ state: 'failed', search: '<b>&', limit: 20 });
    const url = new URL(asked[0].url);
    expect(url.pathname).toBe('/base/nbfn/api/calls');
    expect(url.searchParams.get('search')).toBe('<b>&');
    expect(url.searchParams.get('limit')).toBe('20');
  });

  it('refuses an overview that it does not know', async () => {
    await expect(
      new Api(answering(200, '{"hello": 1}')).overview()
    ).rejects.toThrow(/Reload the page/);
  });

  it('says so when the server is gone', async () => {
    const settings = ServerConnection.makeSettings({
      fetch: () => Promise.reject(new TypeError('no network'))
    });
    await expect(new Api(settings).startHub()).rejects.toThrow(
      'The Jupyter server does not respond.'
    );
  });
});
